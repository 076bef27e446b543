//! Cluster state: Muslin's resources and Kubernetes objects, from the API or from a folder of the same manifests.

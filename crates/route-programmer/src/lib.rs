//! Desired routes into the Linux kernel, and the kernel's own view: reconcile, audit, never touch foreign routes.

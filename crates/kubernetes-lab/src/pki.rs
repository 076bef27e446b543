//! Keys, certificates and kubeconfigs of a cluster that lives for minutes.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muslin_lab::LabError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

/// The cluster's certificate authority and the folder in which everything is.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    authority: String,
}

/// Files of one certificate.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    pub(crate) fn create(folder: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named("muslin-lab", None);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let authority = parameters.self_signed(&key).map_err(failed)?.pem();
        let pki = Self { folder: folder.to_path_buf(), issuer: Issuer::new(parameters, key), authority };
        pki.write("ca.crt", &pki.authority)?;
        Ok(pki)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A certificate for the API server, by these names and addresses.
    pub(crate) fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Identity, LabError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).map_err(failed)?;
        parameters.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
        parameters.distinguished_name = named("kube-apiserver", None);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue("apiserver", parameters)
    }

    /// A certificate of a user of the API.
    pub(crate) fn client(&self, file: &str, user: &str, group: Option<&str>) -> Result<Identity, LabError> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = named(user, group);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(file, parameters)
    }

    /// The key that signs service accounts' tokens, and its public half in place of a certificate.
    pub(crate) fn signing_key(&self) -> Result<Identity, LabError> {
        let key = KeyPair::generate().map_err(failed)?;
        Ok(Identity {
            certificate: self.write("service-accounts.pub", &key.public_key_pem())?,
            key: self.write("service-accounts.key", &key.serialize_pem())?,
        })
    }

    /// A kubeconfig with everything inside, so that it is one file to carry.
    pub(crate) fn kubeconfig(
        &self,
        file: &str,
        server: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<PathBuf, LabError> {
        let identity = self.client(file, user, group)?;
        let read = |path: &Path| fs::read_to_string(path).map_err(LabError::file(path));
        let (certificate, key) = (read(&identity.certificate)?, read(&identity.key)?);
        let text = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {
                "server": server,
                "certificate-authority-data": STANDARD.encode(&self.authority),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            }}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        });
        self.write(&format!("{file}.kubeconfig"), &text.to_string())
    }

    fn issue(&self, file: &str, mut parameters: CertificateParams) -> Result<Identity, LabError> {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity {
            certificate: self.write(&format!("{file}.crt"), &certificate.pem())?,
            key: self.write(&format!("{file}.key"), &key.serialize_pem())?,
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, LabError> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(LabError::file(&path))?;
        Ok(path)
    }
}

fn named(name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        named.push(DnType::OrganizationName, organization);
    }
    named
}

fn failed(error: rcgen::Error) -> LabError {
    LabError::system("make a certificate")(std::io::Error::other(error))
}

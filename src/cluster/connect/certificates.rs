//! Whom to trust, and what to prove who we are with: certificates and keys, from data or files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster};

use super::files;
use crate::error::{Error, Result};

/// The PEM text of the authority; `None` leaves it to the operating system.
///
/// # Errors
/// When it cannot be read, or must not be given.
pub(super) fn authority(cluster: &Cluster) -> Result<Option<Vec<u8>>> {
    let excluded = cluster.insecure_skip_tls_verify == Some(true);
    match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (None, None) => Ok(None),
        _ if excluded => {
            Err(Error::usage("a certificate authority and insecure-skip-tls-verify cannot be used together")
                .hint("drop one of them"))
        }
        (Some(data), _) => base64(data)
            .map(Some)
            .ok_or_else(|| Error::cluster("certificate-authority-data in the kubeconfig is not base64")),
        (None, Some(path)) => files::read(path, files::CERTIFICATES)
            .map(Some)
            .map_err(|e| Error::cluster(format!("cannot read the certificate authority {path}")).because(e)),
    }
}

/// The certificates in PEM text, as DER.
///
/// # Errors
/// When it holds none.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    let text = String::from_utf8_lossy(pem);
    let certificates: Option<Vec<Vec<u8>>> = text
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| block.split_once("-----END CERTIFICATE-----").map(|(body, _)| body))
        .map(|body| base64(body?))
        .collect();
    match certificates {
        Some(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::cluster("the certificate authority has no certificate in PEM format")
            .hint("check certificate-authority in the kubeconfig, or --certificate-authority")),
    }
}

/// The client certificate and its key as kube takes them: PEM, in base64.
pub(super) type Identity = (String, String);

/// The client certificate and key of the user, read from their files where they are files.
///
/// # Errors
/// When one is there without the other, cannot be read, or is not PEM.
pub(super) fn identity(user: &AuthInfo) -> Result<Option<Identity>> {
    let key_data = user.client_key_data.as_ref().map(super::credentials::revealed);
    let certificate =
        part("certificate", user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
    let key = part("key", key_data, user.client_key.as_deref())?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (certificate, _) => {
            let (there, lacking) =
                if certificate.is_some() { ("certificate", "key") } else { ("key", "certificate") };
            Err(Error::usage(format!("the client {there} has no client {lacking}"))
                .hint(format!("give --client-{lacking} FILE, or set client-{lacking} in the kubeconfig")))
        }
    }
}

fn part(what: &str, data: Option<&str>, path: Option<&str>) -> Result<Option<String>> {
    let hint = format!("check client-{what} of the user in the kubeconfig, or --client-{what}");
    let pem = match (data, path) {
        (Some(data), _) => base64(data).ok_or_else(|| {
            Error::cluster(format!("client-{what}-data in the kubeconfig is not base64")).hint(hint.as_str())
        })?,
        (None, Some(path)) => files::read(path, files::CERTIFICATES)
            .map_err(|e| Error::cluster(format!("cannot read the client {what} {path}")).because(e))?,
        (None, None) => return Ok(None),
    };
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN ") {
        return Err(Error::cluster(format!("the client {what} is not PEM")).hint(hint));
    }
    Ok(Some(STANDARD.encode(pem)))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.split_whitespace().collect::<String>()).ok()
}

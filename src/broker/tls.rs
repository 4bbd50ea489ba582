//! TLS: rustls on a provider in Rust and assembler (graviola), prepared once from the settings.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use self::verify::Verifier;
use super::settings::TlsSettings;

mod verify;

/// Where systems keep the authorities they trust, each as one PEM file.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine, Arch; our image
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // newer Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",             // SUSE
    "/etc/ssl/cert.pem",                  // Alpine, OpenBSD, macOS
    "/usr/local/share/certs/ca-root-nss.crt", // FreeBSD
];

/// The settings for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    /// The provider would panic.
    #[error("TLS needs a processor with {missing}, which this one lacks")]
    Processor {
        /// Comma-separated.
        missing: String,
    },
    /// A file named in the settings cannot be read.
    #[error("cannot read {property} {}", .path.display())]
    Read {
        /// Name of the setting.
        property: &'static str,
        /// As set.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is broken.
    #[error("{property} {} is not sound PEM", .path.display())]
    Pem {
        /// Name of the setting.
        property: &'static str,
        /// As set.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds nothing of what it should.
    #[error("{property} {} holds no {wanted} in PEM{hint}", .path.display())]
    Nothing {
        /// Name of the setting.
        property: &'static str,
        /// As set.
        path: PathBuf,
        /// "certificate", "private key"
        wanted: &'static str,
        /// What it seems to be instead, and what to do; or empty.
        hint: &'static str,
    },
    /// An authority's certificate cannot be used.
    #[error("certificate {number} in {property} {} cannot be used as an authority", .path.display())]
    Authority {
        /// Name of the setting.
        property: &'static str,
        /// As set.
        path: PathBuf,
        /// From 1.
        number: usize,
        /// Why.
        source: rustls::Error,
    },
    /// No system roots.
    #[error(
        "found no file of authorities to trust (looked at {looked_at}): set {property} or the variable SSL_CERT_FILE"
    )]
    NoSystemRoots {
        /// Name of the setting.
        property: &'static str,
        /// Comma-separated.
        looked_at: String,
    },
    /// A private key under a pass phrase.
    #[error("the private key in {} is encrypted, which is not supported: `openssl pkey -in {} -out plain.pem` decrypts it", .path.display(), .path.display())]
    EncryptedKey {
        /// As set.
        path: PathBuf,
    },
    /// A key without a certificate.
    #[error("{} is set, and {} is not", .0.key, .0.certificate)]
    KeyWithoutCertificate(&'static Names),
    /// Certificate and key do not belong together.
    #[error("the private key {} does not belong to the certificate {}", .key.display(), .certificate.display())]
    KeyOfAnother {
        /// As set.
        certificate: PathBuf,
        /// As set.
        key: PathBuf,
    },
    /// A key of another kind.
    #[error("the private key in {} is of a kind that is not supported (RSA, EC P-256 and P-384, Ed25519 are)", .path.display())]
    KeyKind {
        /// As set.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// rustls refuses the rest.
    #[error("TLS cannot be set up")]
    Setup {
        /// Why.
        source: rustls::Error,
    },
}

/// What the settings are called where the user sets them.
#[derive(Debug)]
pub struct Names {
    /// Of the authorities.
    pub ca: &'static str,
    /// Of the client's certificate.
    pub certificate: &'static str,
    /// Of the client's private key.
    pub key: &'static str,
}

/// Those of the brokers.
const BROKERS: Names = Names {
    ca: "ssl.ca.location",
    certificate: "ssl.certificate.location",
    key: "ssl.key.location",
};

/// Ready to make TLS connections; cheap to clone. One is kept for all of them, so that sessions are resumed.
#[derive(Clone)]
pub(crate) struct TlsConnector {
    inner: tokio_rustls::TlsConnector,
    presents_certificate: bool,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("presents_certificate", &self.presents_certificate)
            .finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// Reads the files that the settings name, and blocks while it does.
    ///
    /// # Errors
    /// If one cannot be used, or the processor cannot.
    pub(crate) fn prepare(settings: &TlsSettings) -> Result<Self, TlsSettingsError> {
        Self::prepare_named(settings, &BROKERS)
    }

    /// The same with settings of other names.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) fn prepare_named(
        settings: &TlsSettings,
        names: &'static Names,
    ) -> Result<Self, TlsSettingsError> {
        check_processor()?;
        let provider = Arc::new(rustls_graviola::default_provider());
        let Trust { roots, named } = trust(settings, names)?;
        let verifier = Verifier {
            roots,
            named,
            provider: Arc::clone(&provider),
            skip_host_check: settings.skip_host_check,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsSettingsError::Setup { source })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let identity = identity(settings, &provider, names)?;
        let presents_certificate = identity.is_some();
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        };
        Ok(Self {
            inner: Arc::new(config).into(),
            presents_certificate,
        })
    }

    /// Whether there is a client certificate to show.
    pub(crate) fn presents_certificate(&self) -> bool {
        self.presents_certificate
    }

    /// Performs the handshake, without a time limit.
    ///
    /// # Errors
    /// As tokio-rustls has it: rustls' own error within an `io::Error`.
    pub(crate) async fn handshake(
        &self,
        host: ServerName<'static>,
        tcp: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        self.inner.connect(host, tcp).await
    }
}

/// The provider panics on a processor without these; so they are asked for first.
fn check_processor() -> Result<(), TlsSettingsError> {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("aes", is_x86_feature_detected!("aes")),
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("bmi1", is_x86_feature_detected!("bmi1")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
    ];
    #[cfg(target_arch = "aarch64")]
    let features = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    require(&features)
}

fn require(features: &[(&str, bool)]) -> Result<(), TlsSettingsError> {
    let missing: Vec<&str> = features
        .iter()
        .filter(|(_, has)| !has)
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(TlsSettingsError::Processor {
        missing: missing.join(", "),
    })
}

/// Whom to trust.
struct Trust {
    roots: RootCertStore,
    /// The certificates that the user named one by one, as opposed to a system's hundred.
    named: Vec<CertificateDer<'static>>,
}

fn trust(settings: &TlsSettings, names: &Names) -> Result<Trust, TlsSettingsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca {
        let property = names.ca;
        let named = certificates(property, path)?;
        for (index, certificate) in named.iter().enumerate() {
            roots
                .add(certificate.clone())
                .map_err(|source| TlsSettingsError::Authority {
                    property,
                    path: path.clone(),
                    number: index + 1,
                    source,
                })?;
        }
        return Ok(Trust { roots, named });
    }
    let (property, path) = match &settings.system_ca {
        Some(path) => ("SSL_CERT_FILE", path.as_path()),
        None => match SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.is_file()) {
            Some(path) => ("the system's authorities in", path),
            None => {
                return Err(TlsSettingsError::NoSystemRoots {
                    property: names.ca,
                    looked_at: SYSTEM_ROOTS.join(", "),
                });
            }
        },
    };
    // A system's bundle may hold an oddity that is none of the user's making: it is left out.
    let (usable, _odd) = roots.add_parsable_certificates(certificates(property, path)?);
    if usable == 0 {
        return Err(TlsSettingsError::NoSystemRoots {
            property: names.ca,
            looked_at: path.display().to_string(),
        });
    }
    Ok(Trust {
        roots,
        named: Vec::new(),
    })
}

/// The client's certificate and key, checked to belong together.
fn identity(
    settings: &TlsSettings,
    provider: &CryptoProvider,
    names: &'static Names,
) -> Result<Option<CertifiedKey>, TlsSettingsError> {
    let Some(certificate) = settings.certificate.clone() else {
        return if settings.key.is_some() {
            Err(TlsSettingsError::KeyWithoutCertificate(names))
        } else {
            Ok(None)
        };
    };
    let path = settings.key.clone().unwrap_or_else(|| certificate.clone());
    let chain = certificates(names.certificate, &certificate)?;
    let key = match provider
        .key_provider
        .load_private_key(private_key(names.key, &path)?)
    {
        Ok(key) => key,
        Err(source) => return Err(TlsSettingsError::KeyKind { path, source }),
    };
    let identity = CertifiedKey::new(chain, key);
    // rustls' own `from_der` also refuses what it cannot parse, such as X.509 version 1, which many tools make and
    // brokers accept: whether it will do is for the broker to say.
    match identity.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsSettingsError::KeyOfAnother {
                certificate,
                key: path,
            })
        }
        _ => Ok(Some(identity)),
    }
}

fn certificates(
    property: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsSettingsError> {
    let pem = read(property, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsSettingsError::Pem {
            property,
            path: path.to_owned(),
            source,
        })?;
    if found.is_empty() {
        let hint = hint(&pem);
        return Err(TlsSettingsError::Nothing {
            property,
            path: path.to_owned(),
            wanted: "certificate",
            hint,
        });
    }
    Ok(found)
}

fn private_key(property: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsSettingsError> {
    let pem = read(property, path)?;
    if contains(&pem, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(&pem, b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsSettingsError::EncryptedKey {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::pem_slice_iter(&pem)
        .next()
        .ok_or_else(|| TlsSettingsError::Nothing {
            property,
            path: path.to_owned(),
            wanted: "private key",
            hint: hint(&pem),
        })?
        .map_err(|source| TlsSettingsError::Pem {
            property,
            path: path.to_owned(),
            source,
        })
}

fn read(property: &'static str, path: &Path) -> Result<Vec<u8>, TlsSettingsError> {
    std::fs::read(path).map_err(|source| TlsSettingsError::Read {
        property,
        path: path.to_owned(),
        source,
    })
}

/// What people have for Java clients, and how it becomes PEM.
fn hint(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => {
            ": it is a Java keystore (`keytool -importkeystore -deststoretype PKCS12`, then `openssl pkcs12 -nodes`)"
        }
        [0x30, 0x82, ..] => ": it is DER or PKCS#12 (`openssl x509 -inform DER`, or `openssl pkcs12 -nodes`)",
        _ => "",
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[cfg(test)]
mod tests;

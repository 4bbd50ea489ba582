//! Settings that cannot be used, and how that is told. Files: `tests/data/tls/make.sh`.

use super::*;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

fn with(certificate: &str, key: Option<&str>) -> TlsSettings {
    TlsSettings {
        ca: Some(data("ca.pem")),
        certificate: Some(data(certificate)),
        key: key.map(data),
        ..TlsSettings::default()
    }
}

fn refusal(settings: &TlsSettings) -> String {
    let text = TlsConnector::prepare(settings).unwrap_err().to_string();
    // The directory differs from one checkout to the next.
    text.replace(&data("").display().to_string(), "")
}

#[test]
fn encrypted_keys_are_told_with_the_remedy() {
    for key in [
        "client-rsa.pkcs8-encrypted.key.pem",
        "client-rsa.pkcs1-encrypted.key.pem",
    ] {
        let text = refusal(&with("client-rsa.pem", Some(key)));
        assert!(
            text.starts_with(&format!("the private key in {key} is encrypted")),
            "{text}"
        );
        assert!(text.contains("openssl pkey -in"), "{text}");
    }
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_refused() {
    assert_eq!(
        refusal(&with("client-ec.pem", Some("client-rsa.key.pem"))),
        "the private key client-rsa.key.pem does not belong to the certificate client-ec.pem"
    );
}

#[test]
fn files_of_the_wrong_kind_are_told() {
    let text = refusal(&with("client.p12", None));
    assert!(
        text.starts_with("ssl.certificate.location client.p12 holds no certificate in PEM: it is DER"),
        "{text}"
    );
    assert_eq!(
        refusal(&with("client-ec.pem", None)),
        "ssl.key.location client-ec.pem holds no private key in PEM"
    );
    let text = refusal(&with("client-ec.pem", Some("p521.key.pem")));
    assert!(
        text.starts_with("the private key in p521.key.pem is of a kind"),
        "{text}"
    );
    assert_eq!(
        refusal(&with("absent.pem", None)),
        "cannot read ssl.certificate.location absent.pem"
    );
}

#[test]
fn a_certificate_that_only_a_broker_could_judge_is_taken() {
    assert!(TlsConnector::prepare(&with("server-v1.pem", Some("server-v1.key.pem"))).is_ok());
}

#[test]
fn a_key_without_a_certificate_is_a_slip() {
    let settings = TlsSettings {
        certificate: None,
        ..with("client-ec.pem", Some("client-ec.key.pem"))
    };
    assert_eq!(
        refusal(&settings),
        "ssl.key.location is set, and ssl.certificate.location is not"
    );
}

#[test]
fn the_systems_authorities_can_come_from_a_named_file() {
    let named = TlsSettings {
        system_ca: Some(data("both-cas.pem")),
        ..TlsSettings::default()
    };
    assert_eq!(trust(&named, &BROKERS).unwrap().roots.len(), 2);
    let absent = TlsSettings {
        system_ca: Some(data("absent.pem")),
        ..TlsSettings::default()
    };
    assert_eq!(refusal(&absent), "cannot read SSL_CERT_FILE absent.pem");
}

#[test]
fn a_processor_that_lacks_something_is_told_what() {
    let error = require(&[("aes", true), ("avx2", false), ("adx", false)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "TLS needs a processor with avx2, adx, which this one lacks"
    );
    assert!(require(&[("aes", true)]).is_ok());
}

#[test]
fn debug_shows_no_key() {
    let connector = TlsConnector::prepare(&with("client-ec.pem", Some("client-ec.key.pem"))).unwrap();
    assert_eq!(
        format!("{connector:?}"),
        "TlsConnector { presents_certificate: true, .. }"
    );
}

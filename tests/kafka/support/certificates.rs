//! An authority of the tests' own, and what it signs: an RSA certificate for the broker, an EC one for the client.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes into `dir`: `ca.pem`, `other-ca.pem` (which signed nothing), `server-keystore.pem` (names `localhost` only),
/// `client.pem` with `client.key` (`CN=client`), and `stranger.pem` with `stranger.key` (of the other authority).
///
/// # Panics
/// If `openssl` fails.
pub(crate) fn write(dir: &Path) {
    const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    const RSA: [&str; 4] = ["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_bits:2048"];
    authority(dir, "ca");
    authority(dir, "other-ca");
    signed(dir, "server", "localhost", "ca", &RSA);
    signed(dir, "client", "client", "ca", &EC);
    signed(dir, "stranger", "client", "other-ca", &EC);
    let mut keystore = fs::read(dir.join("server.key")).expect("openssl wrote it");
    keystore.extend(fs::read(dir.join("server.pem")).expect("openssl wrote it"));
    fs::write(dir.join("server-keystore.pem"), keystore).expect("target/ can be written");
}

fn authority(dir: &Path, name: &str) {
    let (key, pem, subject) = (
        format!("{name}.key"),
        format!("{name}.pem"),
        format!("/CN={name}"),
    );
    openssl(
        dir,
        &[
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"][..],
            &["-keyout", &key, "-out", &pem, "-subj", &subject],
        ]
        .concat(),
    );
}

fn signed(dir: &Path, name: &str, subject: &str, authority: &str, new_key: &[&str]) {
    let (key, csr, pem, ext) = (
        format!("{name}.key"),
        format!("{name}.csr"),
        format!("{name}.pem"),
        format!("{name}.ext"),
    );
    let (subject_name, ca, ca_key) = (
        format!("/CN={subject}"),
        format!("{authority}.pem"),
        format!("{authority}.key"),
    );
    openssl(
        dir,
        &[
            &["req"][..],
            new_key,
            &["-nodes", "-keyout", &key, "-out", &csr, "-subj", &subject_name],
        ]
        .concat(),
    );
    fs::write(dir.join(&ext), format!("subjectAltName=DNS:{subject}\n")).expect("target/ can be written");
    openssl(
        dir,
        &[
            &[
                "x509",
                "-req",
                "-in",
                &csr,
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-CAcreateserial",
            ][..],
            &["-days", "3650", "-extfile", &ext, "-out", &pem],
        ]
        .concat(),
    );
}

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output();
    let output = output.expect("openssl starts; with Debian's Java it is there (ca-certificates wants it)");
    assert!(
        output.status.success(),
        "openssl {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

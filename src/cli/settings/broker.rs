//! How the brokers are reached.

use std::path::PathBuf;
use std::time::Duration;

use super::{Settings, Usage, choice, values};
use crate::broker::settings::{BrokerSettings, Login, SaslSettings, TlsSettings, TokenSource};

#[derive(Clone, Copy)]
enum Mechanism {
    Plain,
    Sha256,
    Sha512,
    Token,
}

const PROTOCOLS: [(&str, (bool, bool)); 4] = [
    ("plaintext", (false, false)),
    ("ssl", (true, false)),
    ("sasl_plaintext", (false, true)),
    ("sasl_ssl", (true, true)),
];

const MECHANISMS: [(&str, Mechanism); 4] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::Sha256),
    ("SCRAM-SHA-512", Mechanism::Sha512),
    ("OAUTHBEARER", Mechanism::Token),
];

impl Settings {
    /// The brokers, and how to talk to them.
    ///
    /// # Errors
    /// If none is named, a value is not what it should be, or TLS and SASL do not fit together.
    pub(crate) fn brokers(&self) -> Result<BrokerSettings, Usage> {
        let Some(_) = self.find("brokers") else {
            return Err(Usage(
                "no brokers: give -b HOST:PORT, BARNABAS_BROKERS, or bootstrap.servers in a configuration file".to_owned(),
            ));
        };
        let written = self.list("brokers").join(",");
        let bootstrap = values::addresses(&written)
            .map_err(|why| self.wrong("brokers", &format!("\"{written}\" {why}")))?;
        let (tls, sasl) = self.security()?;
        Ok(BrokerSettings {
            bootstrap,
            client_id: self.must("client-id", |text| Ok(text.to_owned()))?,
            timeout: self.must("timeout", positive)?,
            request_timeout: self.must("request-timeout", positive)?,
            connect_timeout: self.must("connect-timeout", positive)?,
            tls,
            sasl,
        })
    }

    /// TLS and SASL, checked even where no broker is named.
    pub(crate) fn security(&self) -> Result<(Option<TlsSettings>, Option<SaslSettings>), Usage> {
        let (tls, sasl) = self.must("security.protocol", |text| choice(text, &PROTOCOLS))?;
        // Without a protocol, credentials would silently not be used, or sent in the clear. If one is set, the user chose.
        if !self.given("security.protocol") {
            for name in [
                "sasl.mechanism",
                "sasl.username",
                "sasl.password",
                "sasl.password.file",
                "ssl.ca.location",
                "ssl.certificate.location",
            ] {
                if self.given(name) {
                    return Err(self.wrong(
                        name,
                        "this needs security.protocol, which is not set: ssl, sasl_ssl, sasl_plaintext, or plaintext to do without",
                    ));
                }
            }
        }
        let tls = if tls { Some(self.tls()?) } else { None };
        let sasl = if sasl { Some(self.sasl()?) } else { None };
        Ok((tls, sasl))
    }

    fn tls(&self) -> Result<TlsSettings, Usage> {
        let path = |name| self.text(name).map(PathBuf::from);
        let skip_host_check = self.must("ssl.endpoint.identification.algorithm", |text| {
            choice(text, &[("https", false), ("none", true)])
        })?;
        let (certificate, key) = (path("ssl.certificate.location"), path("ssl.key.location"));
        if certificate.is_none() && key.is_some() {
            return Err(self.wrong("ssl.key.location", "this needs ssl.certificate.location as well"));
        }
        Ok(TlsSettings {
            ca: path("ssl.ca.location"),
            system_ca: self.environment.get("SSL_CERT_FILE").map(PathBuf::from),
            certificate,
            key,
            skip_host_check,
        })
    }

    fn sasl(&self) -> Result<SaslSettings, Usage> {
        let mechanism = self
            .maybe("sasl.mechanism", |text| choice(text, &MECHANISMS))?
            .ok_or_else(|| {
                self.wrong(
                    "security.protocol",
                    "this needs sasl.mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
                )
            })?;
        Ok(match mechanism {
            Mechanism::Plain => SaslSettings::Plain(self.login()?),
            Mechanism::Sha256 => SaslSettings::ScramSha256(self.login()?),
            Mechanism::Sha512 => SaslSettings::ScramSha512(self.login()?),
            Mechanism::Token => SaslSettings::OauthBearer(self.token()?),
        })
    }

    fn login(&self) -> Result<Login, Usage> {
        let username = self
            .text("sasl.username")
            .ok_or_else(|| self.wrong("sasl.mechanism", "this needs sasl.username"))?;
        let password = match (self.text("sasl.password"), self.text("sasl.password.file")) {
            (Some(password), None) => password,
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| self.wrong("sasl.password.file", &format!("{path}: {error}")))?;
                // The newline that editors and `echo` leave at the end is not part of it.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            }
            (Some(_), Some(_)) => {
                return Err(self.wrong(
                    "sasl.password.file",
                    "sasl.password is set as well; one of them is enough",
                ));
            }
            (None, None) => {
                let advice = "this needs a password: BARNABAS_SASL_PASSWORD, sasl.password.file, or sasl.password in a configuration file";
                return Err(self.wrong("sasl.mechanism", advice));
            }
        };
        Ok(Login { username, password })
    }

    fn token(&self) -> Result<TokenSource, Usage> {
        const COMMAND: &str = "sasl.oauthbearer.token.command";
        match (self.text("sasl.oauthbearer.token.file"), self.list(COMMAND)) {
            (Some(path), command) if command.is_empty() => Ok(TokenSource::File(PathBuf::from(path))),
            (Some(_), _) => Err(self.wrong(
                COMMAND,
                "sasl.oauthbearer.token.file is set as well; one of them is enough",
            )),
            // An array in the file is the command's words already.
            (None, command) if command.len() > 1 => Ok(TokenSource::Command(command)),
            (None, command) => match command.first() {
                // Without the value: it may hold a secret.
                Some(text) => values::words(text)
                    .map(TokenSource::Command)
                    .map_err(|why| self.wrong(COMMAND, &format!("the command {why}"))),
                None => Err(self.wrong(
                    "sasl.mechanism",
                    "this needs sasl.oauthbearer.token.file or sasl.oauthbearer.token.command",
                )),
            },
        }
    }
}

/// A duration that is not zero.
fn positive(text: &str) -> Result<Duration, String> {
    values::duration(text).and_then(|found| {
        if found.is_zero() {
            Err("is no time at all".to_owned())
        } else {
            Ok(found)
        }
    })
}

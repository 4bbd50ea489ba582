//! The distribution: Kafka's jars, copied by Maven into `target/kafka-<version>/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The release under test.
pub(crate) const VERSION: &str = "4.3.1";

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>barnabas.tests</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
"#;

/// A fetched distribution, whole.
#[derive(Debug, Clone)]
pub(crate) struct Dist {
    libs: PathBuf,
}

impl Dist {
    /// Fetches on first use. The error names what is missing on this machine.
    ///
    /// # Panics
    /// If Maven is there but fails: that is a fault to look at, not a missing tool.
    pub(crate) fn get() -> Result<&'static Self, &'static str> {
        static DIST: OnceLock<Result<Dist, String>> = OnceLock::new();
        DIST.get_or_init(fetch).as_ref().map_err(String::as_str)
    }

    /// What `java -cp` is given.
    pub(crate) fn class_path(&self) -> String {
        format!("{}/*", self.libs.display())
    }
}

/// The build directory: where jars, brokers' files and data sets go.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Whether `program` can be started at all.
pub(crate) fn installed(program: &str, version_flag: &str) -> bool {
    let started = Command::new(program)
        .arg(version_flag)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    started.is_ok_and(|status| status.success())
}

fn fetch() -> Result<Dist, String> {
    java_17_or_newer()?;
    let whole = target().join(format!("kafka-{VERSION}"));
    let dist = Dist {
        libs: whole.join("libs"),
    };
    if whole.is_dir() {
        return Ok(dist);
    }
    // One fetches, the others wait here. The directory gets its name when it is whole, so the lock is only thrift.
    fs::create_dir_all(target()).expect("target/ can be made");
    let lock = File::create(target().join(format!("kafka-{VERSION}.lock"))).expect("target/ can be written");
    lock.lock().expect("files in target/ can be locked");
    if whole.is_dir() {
        return Ok(dist);
    }
    if !installed("mvn", "-version") {
        return Err(format!(
            "no `mvn` on PATH to fetch Apache Kafka {VERSION} (Debian: apt-get install maven)"
        ));
    }
    super::loud(&format!(
        "fetching Apache Kafka {VERSION} through Maven into {}",
        whole.display()
    ));
    let part = target().join(format!("kafka-{VERSION}.part"));
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).expect("target/ can be written");
    fs::write(part.join("pom.xml"), POM.replace("VERSION", VERSION)).expect("target/ can be written");
    let maven = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=libs",
        ])
        .current_dir(&part)
        .stdin(Stdio::null())
        .output()
        .expect("mvn starts, it was asked for its version above");
    assert!(
        maven.status.success(),
        "mvn could not fetch Apache Kafka {VERSION}:\n{}{}",
        String::from_utf8_lossy(&maven.stdout),
        String::from_utf8_lossy(&maven.stderr)
    );
    fs::rename(&part, &whole).expect("a directory of target/ can be renamed");
    Ok(dist)
}

/// Kafka 4's broker needs Java 17.
fn java_17_or_newer() -> Result<(), String> {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    let Ok(output) = output else {
        return Err("no `java` on PATH (Debian: apt-get install openjdk-17-jdk-headless)".to_owned());
    };
    // `openjdk version "17.0.15" 2025-04-15`
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split('"').nth(1).unwrap_or_default();
    let major = version
        .split(['.', '-', '+'])
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(17..) => Ok(()),
        _ => Err(format!(
            "`java` is {version:?}, and Kafka {VERSION} needs 17 or newer"
        )),
    }
}

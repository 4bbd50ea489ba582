//! docs/guide.md: its handlers in Node, Python and Go and its commands do what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::delivery_handler::{Http, Reply, Seen};
use crate::delivery_support::{Case, Dead, all_done};
use crate::guide_support::{Desk, balances, node_runs, runs, snippets, source, with_packages};
use crate::member::{LIMIT, Member};
use crate::support::{Brokers, Live, ports, wait_for};

/// Waits until somebody listens at the desk's port.
fn listens(desk: &Desk<'_>) {
    let address = desk.here("127.0.0.1:3000");
    wait_for(&format!("{address} is open"), LIMIT, || {
        TcpStream::connect(&address).ok()
    });
}

/// SIGTERM to a handler and its end, which is to be a good one.
fn ends(handler: Member) {
    handler.signal("TERM");
    let ended = handler.finish();
    assert_eq!(ended.code, Some(0), "{:?}", ended.said);
}

/// The case's only dead letter.
fn letter(case: &Case<'_>) -> Dead {
    let mut letters = case.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.remove(0)
}

/// Lines of a handler that begin with the place of a record, by their second word: the last words, in the order in which they came.
fn by_key(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ').rev();
        let (Some(last), Some(key)) = (words.next(), words.find(|word| *word != "is")) else {
            panic!("{line}");
        };
        keys.entry(key.to_owned()).or_default().push(last.to_owned());
    }
    keys
}

/// What of each key is to come, in order.
fn expected(
    count: usize,
    keys: usize,
    key: impl Fn(usize) -> String,
    value: impl Fn(usize) -> String,
) -> BTreeMap<String, Vec<String>> {
    (0..keys)
        .map(|k| (key(k), (k..count).step_by(keys).map(&value).collect()))
        .collect()
}

#[test]
fn every_file_of_the_guide_is_run_by_a_test() {
    let run = [
        "publish.sh",
        "consume.sh",
        "cloudevent.sh",
        "request.http", // a_handler_receives_what_the_guide_shows
        "events.controller.ts",
        "main.ts",
        "inbox.sql",
        "pod.yaml", // a_nestjs_controller_…
        "plain.mjs",
        "compose.yaml",
        "dlq.sh",
        "oncall.sh",  // plain_node_…
        "handler.py", // python_…
        "fence.sql",  // a_late_effect_…
        "handler.go", // go_…
        "worker.py",
        "worker.mjs",
        "workers.sh", // workers_…
    ];
    let names: BTreeSet<&str> = snippets().into_keys().collect();
    assert_eq!(names, BTreeSet::from(run));
}

#[test]
fn a_handler_receives_what_the_guide_shows() {
    let Some(kafka) = Brokers::any() else { return };
    let http = Http::start(|_| Reply::Status(204));
    let mut desk = Desk::at(kafka, "guide-request", http.port());
    // The guide makes its topic itself.
    desk.case.topic.push_str("-made");
    let snippets = snippets();
    desk.sh(snippets["publish.sh"]);
    desk.sh(snippets["cloudevent.sh"]);
    let member = desk.consume(snippets["consume.sh"]);
    all_done(&http, 2);
    member.leaves();

    let seen = http.seen();
    let of_event = seen.iter().find(|seen| !seen.header("ce-id").is_empty());
    let seen = of_event.expect("the CloudEvent came");
    let (head, body) = snippets["request.http"]
        .split_once("\n\n")
        .expect("a head and a body");
    let parts = |head: &str| -> BTreeMap<String, String> {
        let lines = head.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| line.split_once(": ").unwrap_or(("", line)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (mut shown, mut came) = (parts(head), parts(&seen.head));
    // These are other ones each time, but of the same form.
    let digits = |text: &str| -> String {
        let kinds = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
        kinds.fold(String::new(), |mut text, c| {
            if c != '0' || !text.ends_with('0') {
                text.push(c);
            }
            text
        })
    };
    for name in [
        "host",
        "user-agent",
        "barnabas-record",
        "barnabas-fence",
        "barnabas-deadline-ms",
    ] {
        let shown = shown.remove(name).unwrap_or_default();
        let came = came.remove(name).unwrap_or_default();
        assert_eq!(digits(&desk.here(&shown)), digits(&came), "{name}");
    }
    assert_eq!(came, shown);
    assert_eq!(seen.value, body.trim());
}

#[test]
fn a_nestjs_controller_books_each_event_once() {
    let Some(kafka) = Brokers::any() else { return };
    if !node_runs() {
        return;
    }
    let desk = Desk::new(kafka, "guide-nest");
    if !with_packages(&desk.dir) {
        return;
    }
    desk.run("node", &["node_modules/typescript/bin/tsc"], b"");
    let mut postgres = Command::new("node");
    let port = ports::free().to_string();
    postgres
        .args(["postgres.mjs", &port, "inbox.sql"])
        .current_dir(&desk.dir);
    let mut postgres = Live::start(postgres);
    let lines = postgres.lines();
    assert_eq!(lines.next(), "ready");
    let mut query = |sql: &str| -> Value {
        postgres.write(format!("{sql}\n").as_bytes());
        serde_json::from_str(&lines.next()).expect("rows in JSON")
    };
    let mut service = Command::new("node");
    service
        .arg("dist/main.js")
        .current_dir(&desk.dir)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", &port)
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .env("PGPASSWORD", "postgres");
    let service = Member::watch(service);
    let member = desk.container("pod.yaml", "args: ");

    desk.publish_orders(300, 7);
    desk.case
        .publish("bad:{\"customer\":\"bad\",\"cents\":\"many\"}\n");
    // Larger than what the framework takes by default.
    let large = json!({"customer": "large", "cents": 1, "pad": "x".repeat(200_000)});
    desk.case.publish(&format!("large:{large}\n"));
    desk.case.finished();
    let mut right = balances(300, 7);
    right.insert("large".to_owned(), 1);
    let mut check = || {
        let rows = query("SELECT customer, cents::int FROM balances");
        let rows = rows.as_array().expect("rows").iter();
        let found: BTreeMap<String, usize> = rows
            .map(|row| {
                let customer = row["customer"].as_str().expect("text").to_owned();
                let cents = row["cents"].as_u64().expect("a number");
                (customer, usize::try_from(cents).expect("small"))
            })
            .collect();
        assert_eq!(found, right);
        assert_eq!(query("SELECT count(*)::int FROM inbox"), json!([{"count": 301}]));
    };
    check();
    assert_eq!(letter(&desk.case).text("status"), "422");

    // All once more.
    desk.sh("barnabas groups reset billing --to earliest --yes");
    desk.case.finished();
    check();
    // That it was all is seen by the one that was refused again.
    let letter = letter(&desk.case);
    assert_eq!(letter.number("copies"), 2, "{letter:?}");
    assert!(
        letter.text("error").contains("cents is not a whole number"),
        "{letter:?}"
    );
    member.leaves();
    service.signal("TERM");
    let ended = service.finish();
    // Nest ends itself by the signal, when it has closed all.
    assert_eq!(ended.code, None, "{ended:?}");
}

#[test]
fn plain_node_gets_each_key_in_order_and_people_see_what_goes_on() {
    let Some(kafka) = Brokers::any() else { return };
    if !node_runs() {
        return;
    }
    let desk = Desk::new(kafka, "guide-node");
    let server = desk.serve("node", &["plain.mjs"]);
    desk.publish_orders(300, 7);
    desk.case
        .publish("bad:{\"customer\":\"bad\",\"cents\":\"many\"}\n");
    let member = desk.container("compose.yaml", "command: ");
    desk.case.finished();
    let printed = server.printed().into_iter().map(|line| line.text);
    let right = expected(300, 7, |k| format!("c{k}"), |n| n.to_string());
    assert_eq!(by_key(printed), right);

    let id = letter(&desk.case).text("id").to_owned();
    for line in snippets()["dlq.sh"].lines() {
        let run = desk.sh(&line.replace(" ID", &format!(" {id}")));
        let (said, short) = (format!("{}{}", run.text(), run.stderr), &id[..4]);
        match line.split(' ').nth(2) {
            Some("list") => assert!(said.contains(short) && said.contains("422"), "{said}"),
            Some("show") => assert!(said.contains("cents is not a whole number"), "{said}"),
            _ if line.ends_with("--dry-run") => assert!(said.contains("would"), "{said}"),
            Some("replay") => {
                wait_for("it is refused once more", LIMIT, || {
                    let letters = desk.case.letters();
                    letters
                        .iter()
                        .any(|letter| letter.number("replays") == 1)
                        .then_some(())
                });
            }
            Some("discard") => assert_eq!(desk.case.letters().len(), 0, "{said}"),
            _ => panic!("nobody looks at what it says: {line}"),
        }
    }
    for line in snippets()["oncall.sh"].lines() {
        let run = desk.sh(line);
        assert!(!run.text().is_empty() || !run.stderr.is_empty(), "{line}");
    }
    member.leaves();
    ends(server);
}

#[test]
fn python_books_each_event_once_though_the_database_was_locked_and_barnabas_killed() {
    let Some(kafka) = Brokers::any() else { return };
    if !runs("python3", "--version", "python3") {
        return;
    }
    let desk = Desk::new(kafka, "guide-python");
    let server = desk.serve("python3", &["handler.py"]);
    listens(&desk);
    let answered = |status: &str| {
        let said = server.said();
        let status = format!("\" {status} ");
        said.iter().filter(|line| line.contains(&status)).count()
    };
    let mut locker = Command::new("python3");
    locker.current_dir(&desk.dir).args([
        "-c",
        "import sqlite3, sys\ndb = sqlite3.connect('orders.db', isolation_level=None)\n\
         db.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()",
    ]);
    let mut locker = Live::start(locker);
    assert_eq!(locker.lines().next(), "locked");

    desk.publish_orders(1_000, 7);
    desk.case.publish("bad:{\"customer\":\"bad\"}\n");
    let line = snippets()["consume.sh"];
    let member = desk.consume(line);
    wait_for("it answers 503", LIMIT, || (answered("503") > 0).then_some(()));
    locker.close().success();
    wait_for("some are booked", LIMIT, || (answered("204") > 100).then_some(()));
    member.signal("KILL");
    member.finish();
    let member = desk.consume(line);
    desk.case.finished();
    let sums = "import json, sqlite3\n\
        db = sqlite3.connect('orders.db')\n\
        print(json.dumps(dict(db.execute('SELECT * FROM balances'))))\n\
        print(*db.execute('SELECT count(*) FROM inbox').fetchone())";
    let check = || {
        let run = desk.run("python3", &["-c", sums], b"");
        let (found, keys) = run.text().trim().split_once('\n').expect("two lines");
        assert_eq!(
            serde_json::from_str::<BTreeMap<String, usize>>(found).expect("JSON"),
            balances(1_000, 7)
        );
        assert_eq!(keys, "1000");
    };
    check();
    assert_eq!(letter(&desk.case).text("status"), "422");

    // All once more.
    desk.sh("barnabas groups reset billing --to earliest --yes");
    desk.case.finished();
    check();
    assert!(answered("204") >= 2_000, "{}", answered("204"));
    assert!(answered("422") >= 2, "{}", answered("422"));
    member.leaves();
    ends(server);
}

#[test]
fn a_late_effect_of_an_older_delivery_or_owner_is_refused_by_the_fence() {
    let Some(kafka) = Brokers::any() else { return };
    if !runs("python3", "--version", "python3") {
        return;
    }
    // The first delivery is given up, while its handler is still at work.
    let http = Http::start(|seen| match (seen.value.as_str(), seen.before) {
        ("packed", 0) => Reply::After(Duration::from_secs(3), 204),
        _ => Reply::Status(204),
    });
    let desk = Desk::at(kafka, "guide-fence", http.port());
    desk.case.publish("o-1:packed\no-1:sent\n");
    let line = snippets()["consume.sh"];
    let member = desk.consume(&format!("{line} --handler-timeout 1s --timeout-grace 200ms"));
    desk.case.finished();
    member.leaves();
    let first = http.count();
    // And another owner, who is to do all of it again.
    desk.sh("barnabas groups reset billing --to earliest --yes");
    let member = desk.consume(line);
    desk.case.finished();
    member.leaves();

    let seen = http.seen();
    let (former, latter) = seen.split_at(first);
    let of = |seen: &[Seen]| -> Vec<String> { seen.iter().map(|seen| seen.value.clone()).collect() };
    assert_eq!(of(former), ["packed", "packed", "sent"]);
    assert_eq!(of(latter), ["packed", "sent"]);
    // As they take effect: what was given up comes last.
    let [given_up, packed, sent] = former else {
        unreachable!("looked at above")
    };
    let [again, sent_again] = latter else {
        unreachable!("looked at above")
    };
    let writes = [packed, sent, given_up, again, sent, sent_again, packed];
    let lines = writes.map(|seen| {
        let (token, attempt) = seen.fence.split_once('.').expect("TOKEN.ATTEMPT");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let at = seen.header("barnabas-record").rsplit('/').next();
        let write = json!({
            "id": "o-1", "status": seen.value,
            "token": number(token), "at": number(at.expect("an offset")), "attempt": number(attempt),
        });
        format!("{write}\n")
    });
    let script = source("fence.py").display().to_string();
    let run = desk.run("python3", &[&script, "fence.sql"], lines.concat().as_bytes());
    let wrote: Vec<&str> = run.text().lines().collect();
    assert_eq!(wrote, ["1", "1", "0", "1", "0", "1", "0", "sent"]);
}

#[test]
fn go_gets_each_key_in_order() {
    let Some(kafka) = Brokers::any() else { return };
    if !runs("go", "version", "golang") {
        return;
    }
    let desk = Desk::new(kafka, "guide-go");
    // Not `go run`: that would not pass on signals to what it has built.
    let mut build = Command::new("go");
    build
        .args(["build", "-o", "handler", "handler.go"])
        .current_dir(&desk.dir)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "");
    crate::support::run::run_command(build, b"").success();
    let server = desk.serve("./handler", &[]);
    desk.publish_orders(300, 7);
    desk.case.publish("bad:{\"customer\":\"bad\"}\n");
    let member = desk.consume(snippets()["consume.sh"]);
    desk.case.finished();
    let right = expected(300, 7, |k| format!("o-{k}"), |n| format!("s{n}"));
    assert_eq!(by_key(server.said()), right);
    assert_eq!(
        letter(&desk.case).text("error"),
        "422 Unprocessable Entity: this is no order"
    );
    member.leaves();
    ends(server);
}

#[test]
fn workers_in_python_and_node_get_each_key_in_order() {
    let Some(kafka) = Brokers::any() else { return };
    let runtimes = [
        ("python3", runs("python3", "--version", "python3")),
        ("node", node_runs()),
    ];
    let lines: Vec<&str> = snippets()["workers.sh"].lines().collect();
    assert_eq!(lines.len(), runtimes.len());
    for (line, (program, there)) in lines.iter().zip(runtimes) {
        assert!(line.contains(&format!("'{program} worker")), "{line}");
        if !there {
            continue;
        }
        let desk = Desk::new(kafka, &format!("guide-{program}-worker"));
        desk.publish_orders(300, 7);
        let member = desk.consume(line);
        desk.case.finished();
        member.leaves();
        let sent = std::fs::read_to_string(desk.dir.join("sent.txt")).expect("the worker wrote it");
        let right = expected(300, 7, |k| format!("c{k}"), |n| format!("s{n}"));
        assert_eq!(by_key(sent.lines().map(str::to_owned)), right, "{program}");
    }
}

//! Names that are no settings: known to librdkafka, misspelt, or neither.

use super::table::ROWS;

/// Properties that librdkafka has and barnabas does not, from `kcat -X list` of librdkafka 2.0.2.
static UNSUPPORTED: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "background_event_cb",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "check.crcs",
    "client.rack",
    "closesocket_cb",
    "connect_cb",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "consume_cb",
    "coordinator.query.interval.ms",
    "debug",
    "default_topic_conf",
    "delivery.report.only.error",
    "dr_cb",
    "dr_msg_cb",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.partition.eof",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "enabled_events",
    "error_cb",
    "fetch.error.backoff.ms",
    "group.protocol.type",
    "heartbeat.interval.ms",
    "interceptors",
    "internal.termination.signal",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_cb",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.send.max.retries",
    "metadata.max.age.ms",
    "msg_order_cmp",
    "oauthbearer_token_refresh_cb",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "offset_commit_cb",
    "opaque",
    "open_cb",
    "partition.assignment.strategy",
    "partitioner_cb",
    "plugin.library.paths",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "queuing.strategy",
    "rebalance_cb",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "resolve_cb",
    "retries",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "socket.blocking.max.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket_cb",
    "ssl.ca.certificate.stores",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.certificate.verify_cb",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "ssl_ca",
    "ssl_certificate",
    "ssl_engine_callback_data",
    "ssl_key",
    "statistics.interval.ms",
    "stats_cb",
    "sticky.partitioning.linger.ms",
    "throttle_cb",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Why a name is refused: known to librdkafka but not here, or not known at all, with the nearest one that is.
pub(crate) fn refusal(name: &str) -> String {
    if UNSUPPORTED.contains(&name) {
        let advice = match name {
            "debug" | "log_level" => "; use -v or -vv",
            "enable.auto.commit" | "auto.commit.enable" => "; a group commits what was written out, always",
            "heartbeat.interval.ms" => "; it follows from session",
            "partition.assignment.strategy" => "; a group assigns its partitions itself",
            "enable.partition.eof" => "; use -e",
            "ssl.ca.pem" => "; use ssl.ca.location",
            "ssl.certificate.pem" => "; use ssl.certificate.location",
            "ssl.key.pem" | "ssl.keystore.location" => "; use ssl.certificate.location and ssl.key.location",
            "ssl.key.password" => "; decrypt the key first: openssl pkey -in key.pem -out plain.pem",
            _ => "",
        };
        return format!("{name} is a property of librdkafka that barnabas does not support{advice}");
    }
    let names = ROWS
        .iter()
        .flat_map(|row| std::iter::once(row.name).chain(row.properties.iter().map(|(name, _)| *name)));
    match nearest(name, names) {
        Some(near) => format!("{name} is not a known setting; did you mean {near}?"),
        None => format!("{name} is not a known setting (list: barnabas help properties)"),
    }
}

/// The most similar of the names, if it is similar at all.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.len().div_ceil(3).min(4);
    names
        .map(|known| (distance(name, known), known))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Those of the names that may have been meant, the most similar first.
pub(crate) fn similar<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    /// Shorter ones are part of too much.
    const PART: usize = 3;
    let limit = name.len().div_ceil(3).min(4);
    let mut found: Vec<(usize, &str)> = names
        .map(|known| (distance(name, known), known))
        .filter(|(far, known)| *far <= limit || name.len() >= PART && known.contains(name))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, known)| known).collect()
}

/// Letters to insert, remove, replace or swap with the next one to get from one text to the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = replaced.min(last[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, next);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::table::named;
    use super::*;

    #[test]
    fn no_supported_name_is_in_the_list_of_unsupported_ones() {
        for name in UNSUPPORTED {
            assert!(named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest_one() {
        assert_eq!(
            refusal("bootstrap.server"),
            "bootstrap.server is not a known setting; did you mean bootstrap.servers?"
        );
        assert_eq!(
            refusal("lingre.ms"),
            "lingre.ms is not a known setting; did you mean linger.ms?"
        );
        assert_eq!(
            refusal("wombat.burrow"),
            "wombat.burrow is not a known setting (list: barnabas help properties)"
        );
    }

    #[test]
    fn a_property_of_librdkafka_that_is_not_supported_is_refused_as_such() {
        assert_eq!(
            refusal("debug"),
            "debug is a property of librdkafka that barnabas does not support; use -v or -vv"
        );
        assert_eq!(
            refusal("dr_cb"),
            "dr_cb is a property of librdkafka that barnabas does not support"
        );
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

//! Flags of `consume` with a handler.

use clap::Args;

use super::Flags;

const HANDLERS: &str = "Handlers";

/// What is done with each event of a group, and how.
#[derive(Debug, Args)]
pub(super) struct HandlerArgs {
    /// Post each event to URL (or unix:PATH), as a CloudEvent in binary mode [env: BARNABAS_HTTP]
    #[arg(long, value_name = "URL", help_heading = HANDLERS)]
    http: Option<String>,
    /// Give the events to a worker process, a JSON line each; it answers with a line each [env: BARNABAS_EXEC]
    #[arg(long, value_name = "CMD", help_heading = HANDLERS)]
    exec: Option<String>,
    /// Run CMD for each event, with the data on its standard input [env: BARNABAS_EXEC_EACH]
    #[arg(long, value_name = "CMD", help_heading = HANDLERS)]
    exec_each: Option<String>,
    /// Handlers at once, or auto [env: BARNABAS_CONCURRENCY] [default: 64]
    #[arg(long, value_name = "N", help_heading = HANDLERS)]
    concurrency: Option<String>,
    /// Which events wait for each other: those with one key, all of a partition, or none [env: BARNABAS_ORDER] [default: key]
    #[arg(long, value_name = "ORDER", help_heading = HANDLERS)]
    order: Option<String>,
    /// Attempts that count before an event is set aside [env: BARNABAS_RETRY] [default: 10]
    #[arg(long, value_name = "N", help_heading = HANDLERS)]
    retry: Option<String>,
    /// Time between two attempts [env: BARNABAS_BACKOFF] [default: 500ms..1m]
    #[arg(long, value_name = "FIRST..LONGEST", help_heading = HANDLERS)]
    backoff: Option<String>,
    /// How long an event that fails is tried at least before it is set aside [env: BARNABAS_HOLD_FOR] [default: 0s]
    #[arg(long, value_name = "DURATION", help_heading = HANDLERS)]
    hold_for: Option<String>,
    /// When progress is committed: now and then, or each event's before the next one of its key [env: BARNABAS_COMMIT] [default: interval]
    #[arg(long, value_name = "WHEN", help_heading = HANDLERS)]
    commit: Option<String>,
    /// How long a handler may take for an event [env: BARNABAS_HANDLER_TIMEOUT] [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = HANDLERS)]
    handler_timeout: Option<String>,
    /// How long an event waits beyond that after a handler that did not answer [env: BARNABAS_TIMEOUT_GRACE] [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = HANDLERS)]
    timeout_grace: Option<String>,
    /// When there is no answer in time: lost, or wait as long as the connection lives [env: BARNABAS_ON_TIMEOUT] [default: lost]
    #[arg(long, value_name = "WHAT", help_heading = HANDLERS)]
    on_timeout: Option<String>,
    /// The longest pause that a handler may ask for [env: BARNABAS_RETRY_AFTER_MAX] [default: 5m]
    #[arg(long, value_name = "DURATION", help_heading = HANDLERS)]
    retry_after_max: Option<String>,
    /// What statuses mean: done, skip, retry, hold or reject, as in 404=reject,409=done [env: BARNABAS_ON]
    #[arg(long, value_name = "STATUS=OUTCOME,…", help_heading = HANDLERS)]
    on: Option<String>,
    /// What bodies of answers mean: plain (nothing), or dapr [env: BARNABAS_DIALECT] [default: plain]
    #[arg(long, value_name = "DIALECT", help_heading = HANDLERS)]
    dialect: Option<String>,
    /// Drop events whose id was finished already [env: BARNABAS_DEDUP]
    #[arg(long, help_heading = HANDLERS)]
    dedup: bool,
    /// What the id is: event (a CloudEvent's source and id), header:NAME or json:POINTER [env: BARNABAS_DEDUP_ID] [default: event]
    #[arg(long, value_name = "ID", help_heading = HANDLERS)]
    dedup_id: Option<String>,
    /// How far back ids are compared: a duration, a number of ids, or both [env: BARNABAS_DEDUP_WINDOW] [default: 1h]
    #[arg(long, value_name = "DURATION,N", help_heading = HANDLERS)]
    dedup_window: Option<String>,
    /// Events a second, of the whole group [env: BARNABAS_MAX_RATE]
    #[arg(long, value_name = "N", help_heading = HANDLERS)]
    max_rate: Option<String>,
    /// Set larger events aside without a handler seeing them [env: BARNABAS_MAX_EVENT]
    #[arg(long, value_name = "SIZE", help_heading = HANDLERS)]
    max_event: Option<String>,
    /// Join when this URL answers 2xx, not when --http accepts connections [env: BARNABAS_READY_URL]
    #[arg(long, value_name = "URL", help_heading = HANDLERS)]
    ready_url: Option<String>,
    /// PEM file with the authorities to trust for --http [env: BARNABAS_HTTP_CA]
    #[arg(long, value_name = "FILE", help_heading = HANDLERS)]
    http_ca: Option<String>,
    /// PEM file with the client's certificate for --http [env: BARNABAS_HTTP_CERT]
    #[arg(long, value_name = "FILE", help_heading = HANDLERS)]
    http_cert: Option<String>,
    /// PEM file with the client's private key for --http [env: BARNABAS_HTTP_KEY]
    #[arg(long, value_name = "FILE", help_heading = HANDLERS)]
    http_key: Option<String>,
    /// File with the bearer token for --http; read again when it changes [env: BARNABAS_HTTP_AUTH_FILE]
    #[arg(long, value_name = "FILE", help_heading = HANDLERS)]
    http_auth_file: Option<String>,
    /// Headers of the record to pass on beside the event's [env: BARNABAS_FORWARD_HEADERS]
    #[arg(long, value_name = "NAME,…", help_heading = HANDLERS)]
    forward_headers: Option<String>,
    /// Worker processes of --exec [env: BARNABAS_WORKERS] [default: 1]
    #[arg(long, value_name = "N", help_heading = HANDLERS)]
    workers: Option<String>,
    /// Events at once in each worker process [env: BARNABAS_WORKER_INFLIGHT] [default: 1]
    #[arg(long, value_name = "N", help_heading = HANDLERS)]
    worker_inflight: Option<String>,
    /// Write these dead-letter headers too: spring, connect [env: BARNABAS_DLQ_HEADERS]
    #[arg(long, value_name = "NAMES", help_heading = HANDLERS)]
    dlq_headers: Option<String>,
    /// Whether a missing topic of dead letters is created [env: BARNABAS_DLQ_CREATE] [default: true]
    #[arg(long, value_name = "true|false", help_heading = HANDLERS)]
    dlq_create: Option<String>,
}

impl HandlerArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        flags.put("http", &self.http);
        flags.put("exec", &self.exec);
        flags.put("exec-each", &self.exec_each);
        flags.put("concurrency", &self.concurrency);
        flags.put("order", &self.order);
        flags.put("retry", &self.retry);
        flags.put("backoff", &self.backoff);
        flags.put("hold-for", &self.hold_for);
        flags.put("handler-timeout", &self.handler_timeout);
        flags.put("timeout-grace", &self.timeout_grace);
        flags.put("commit", &self.commit);
        flags.put("on-timeout", &self.on_timeout);
        flags.put("retry-after-max", &self.retry_after_max);
        flags.put("on", &self.on);
        flags.put("dialect", &self.dialect);
        flags.switch("dedup", self.dedup, true);
        flags.put("dedup-id", &self.dedup_id);
        flags.put("dedup-window", &self.dedup_window);
        flags.put("max-rate", &self.max_rate);
        flags.put("max-event", &self.max_event);
        flags.put("ready-url", &self.ready_url);
        flags.put("http-ca", &self.http_ca);
        flags.put("http-cert", &self.http_cert);
        flags.put("http-key", &self.http_key);
        flags.put("http-auth-file", &self.http_auth_file);
        flags.put("forward-headers", &self.forward_headers);
        flags.put("workers", &self.workers);
        flags.put("worker-inflight", &self.worker_inflight);
        flags.put("dlq-headers", &self.dlq_headers);
        flags.put("dlq-create", &self.dlq_create);
    }
}

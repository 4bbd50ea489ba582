//! Tests against real Apache Kafka, with judges that are not ours: kcat and the Java tools.
//! Skipped, and said aloud, where Java or Maven is missing; an error there if `CI=true`.

mod support;

mod barnabas_bin;
mod delivery_handler;
mod delivery_scripts;
mod delivery_support;
mod guide_support;
mod judge;
mod member;

mod bad_input;
mod bad_records;
mod connections;
mod dedup;
mod delivery;
mod delivery_letters;
mod delivery_members;
mod delivery_outages;
mod delivery_promises;
mod delivery_workers;
mod dlq;
mod faults;
mod fetcher;
mod group;
mod group_faults;
mod groupdriver;
mod grouplog;
mod groups;
mod groups_why;
mod guide;
mod interop;
mod interrupt;
mod json;
mod offsets;
mod partitioner;
mod real_data;
mod replay;
mod security;
mod topics;
mod transactions;

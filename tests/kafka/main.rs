//! Tests against real Apache Kafka, with judges that are not ours: kcat and the Java tools.
//! Skipped, and said aloud, where Java or Maven is missing; an error there if `CI=true`.

mod support;

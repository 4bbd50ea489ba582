//! The simulation: whole groups of real members over an in-memory log, with seeded faults, and invariants that are checked
//! after each record.
//!
//! - [`run`]: one seed from its beginning to its end; [`options`]: what its seed makes of it;
//! - [`world`]: what there is, and what happens when; [`faults`]: what goes wrong;
//! - [`process`], [`drive`]: what the driver does around a member; [`worker`], [`handlers`]: what the application does;
//! - [`log`], [`queue`], [`dice`], [`story`]: its parts;
//! - [`checks`], [`ending`]: the invariants;
//! - [`seeds`]: many seeds; [`broken`]: that the checks can fail; [`scale`]: large groups, and what their logs cost.
//!
//! A seed that fails prints its options and its event log. A plain `cargo test` runs the first 250 seeds; `.ci/run` runs ten
//! thousand, in the profile `sim`. Two variables, for these tests alone, say otherwise:
//!
//! ```text
//! BARNABAS_SIM_SEEDS=10000 cargo test --profile sim --lib group::sim::seeds -- --test-threads=1
//! BARNABAS_SIM_ONE=faults:4711 cargo test --profile sim --lib group::sim::seeds::one_seed -- --nocapture
//! ```

mod broken;
mod checks;
mod dice;
mod drive;
mod ending;
mod faults;
mod handlers;
mod log;
mod options;
mod process;
mod queue;
mod run;
mod scale;
mod seeds;
mod story;
mod worker;
mod world;

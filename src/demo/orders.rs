//! A shop's orders as a stream of events, each order a key. Pure: equal seeds give equal events.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Orders that are on their way at the same time.
const OPEN: usize = 48;
/// The currency that no shop sells in: ISO 4217 keeps it for tests.
pub const POISON_CURRENCY: &str = "XTS";
/// What `ce_source` says.
pub const SOURCE: &str = "/demo/shop";

const CUSTOMERS: [&str; 12] = [
    "Ada Okafor",
    "Bruno Keller",
    "Chiara Conti",
    "Dmitri Volkov",
    "Emre Yılmaz",
    "Fatima Haddad",
    "Grace Lindqvist",
    "Hiroshi Tanaka",
    "Ines Moreau",
    "Jonas Weber",
    "Kavya Rao",
    "Lucía Ortega",
];
/// What there is to buy, and the price of one in cents.
const GOODS: [(&str, u64); 10] = [
    ("mug-blue", 1_190),
    ("kettle-1l", 4_490),
    ("filter-papers-100", 390),
    ("grinder-hand", 7_900),
    ("beans-ethiopia-1kg", 2_850),
    ("beans-decaf-500g", 1_640),
    ("scale-pocket", 2_300),
    ("teapot-cast-iron", 5_750),
    ("tea-sencha-100g", 1_280),
    ("spoon-set", 950),
];
const CARRIERS: [&str; 3] = ["postnord", "dhl", "bike-courier"];

/// What happens to an order, in this order.
const STAGES: [&str; 5] = [
    "order.placed",
    "order.paid",
    "order.packed",
    "order.shipped",
    "order.delivered",
];
/// What happens last to one that is called off after it was paid.
const CANCELLED: &str = "order.cancelled";
/// One order in so many is.
const CANCELLED_OF: u32 = 12;

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The order, which is the record's key: `o-1001`.
    pub key: String,
    /// Which event of its key it is, from 0.
    pub seq: u32,
    /// Its type: `order.paid`.
    pub kind: &'static str,
    /// JSON.
    pub data: Bytes,
}

impl Event {
    /// What `ce_id` says: unique in the stream.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.key, self.seq)
    }
}

#[derive(Debug)]
struct Order {
    number: u32,
    seq: u32,
    customer: usize,
    items: Vec<(usize, u64)>,
    cancelled: bool,
}

impl Order {
    fn total(&self) -> u64 {
        self.items
            .iter()
            .map(|(good, count)| GOODS[*good].1 * count)
            .sum()
    }

    fn kind(&self) -> &'static str {
        match (self.cancelled, usize::try_from(self.seq)) {
            (true, Ok(2)) => CANCELLED,
            (_, Ok(seq)) => STAGES.get(seq).copied().unwrap_or(CANCELLED),
            (_, Err(_)) => CANCELLED,
        }
    }

    fn is_over(&self) -> bool {
        self.seq as usize >= if self.cancelled { 3 } else { STAGES.len() }
    }
}

/// The stream.
#[derive(Debug)]
pub struct Orders {
    random: StdRng,
    open: Vec<Order>,
    last: u32,
}

impl Orders {
    /// One that begins anew.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            open: Vec::with_capacity(OPEN),
            last: 1_000,
        }
    }

    /// What happens next, to whichever order.
    pub fn next_event(&mut self) -> Event {
        // As many on their way as there can be, soon; then one comes as one goes.
        let at = if self.open.len() < OPEN && (self.open.is_empty() || self.random.gen_bool(0.5)) {
            self.place()
        } else {
            self.random.gen_range(0..self.open.len())
        };
        self.go_on(at, "EUR")
    }

    /// A new order, and its payment in a currency that nobody has an exchange rate for. The order goes on later.
    pub fn poison(&mut self) -> [Event; 2] {
        let at = self.place();
        self.open[at].cancelled = false;
        let placed = self.go_on(at, "EUR");
        [placed, self.go_on(at, POISON_CURRENCY)]
    }

    fn place(&mut self) -> usize {
        self.last += 1;
        let count = self.random.gen_range(1..=3);
        let order = Order {
            number: self.last,
            seq: 0,
            customer: self.random.gen_range(0..CUSTOMERS.len()),
            items: (0..count)
                .map(|_| {
                    (
                        self.random.gen_range(0..GOODS.len()),
                        self.random.gen_range(1..=3),
                    )
                })
                .collect(),
            cancelled: self.random.gen_ratio(1, CANCELLED_OF),
        };
        self.open.push(order);
        self.open.len() - 1
    }

    fn go_on(&mut self, at: usize, currency: &str) -> Event {
        let random = &mut self.random;
        let order = &mut self.open[at];
        let key = format!("o-{}", order.number);
        let kind = order.kind();
        let (total, customer) = (money(order.total()), CUSTOMERS[order.customer]);
        // Nothing of it needs to be escaped.
        let data = match kind {
            "order.placed" => {
                let items = order.items.iter().map(|(good, count)| {
                    let (sku, price) = (GOODS[*good].0, money(GOODS[*good].1));
                    format!(r#"{{"sku":"{sku}","quantity":{count},"price":"{price}"}}"#)
                });
                let items: Vec<String> = items.collect();
                format!(
                    r#""customer":{{"id":"c-{}","name":"{customer}"}},"items":[{}],"total":"{total}","currency":"{currency}""#,
                    order.customer + 1,
                    items.join(",")
                )
            }
            "order.paid" => {
                let method = if random.gen_bool(0.7) { "card" } else { "invoice" };
                format!(r#""method":"{method}","amount":"{total}","currency":"{currency}""#)
            }
            "order.packed" => format!(r#""parcels":1,"weight_g":{}"#, random.gen_range(200..4_000)),
            "order.shipped" => format!(
                r#""carrier":"{}","tracking":"T{:010}""#,
                CARRIERS[random.gen_range(0..CARRIERS.len())],
                random.gen_range(0..10_000_000_000_u64)
            ),
            "order.delivered" => format!(r#""signed_by":"{customer}""#),
            _ => format!(r#""reason":"changed my mind","refund":"{total}""#),
        };
        let data = format!(r#"{{"order":"{key}",{data}}}"#);
        let event = Event {
            key,
            seq: order.seq,
            kind,
            data: Bytes::from(data),
        };
        order.seq += 1;
        if order.is_over() {
            self.open.swap_remove(at);
        }
        event
    }
}

/// Cents as an amount with two places.
fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn events(seed: u64, count: usize) -> Vec<Event> {
        let mut orders = Orders::new(seed);
        (0..count).map(|_| orders.next_event()).collect()
    }

    #[test]
    fn equal_seeds_tell_the_same_story_and_others_another() {
        assert_eq!(events(1, 500), events(1, 500));
        assert_ne!(events(1, 500), events(2, 500));
    }

    #[test]
    fn the_events_of_an_order_come_in_its_stages_and_each_id_once() {
        let mut next: BTreeMap<String, u32> = BTreeMap::new();
        let mut cancelled = 0;
        for event in events(7, 5_000) {
            let seq = next.entry(event.key.clone()).or_default();
            assert_eq!(event.seq, *seq, "{event:?}");
            let stage = usize::try_from(event.seq).unwrap();
            assert!(
                event.kind == STAGES[stage] || (event.kind == CANCELLED && stage == 2),
                "{event:?}"
            );
            cancelled += u32::from(event.kind == CANCELLED);
            *seq += 1;
        }
        assert!(next.len() > 900 && cancelled > 20, "{} {cancelled}", next.len());
    }

    #[test]
    fn all_data_is_json_that_names_its_order() {
        for event in events(3, 500) {
            let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
            assert_eq!(data["order"], event.key);
        }
    }

    #[test]
    fn a_poisoned_order_goes_on_behind_its_poison() {
        for seed in 0..50 {
            let mut orders = Orders::new(seed);
            (0..100).for_each(|_| drop(orders.next_event()));
            let [placed, paid] = orders.poison();
            assert_eq!((placed.seq, paid.seq, paid.kind), (0, 1, "order.paid"));
            assert_eq!(placed.key, paid.key);
            assert!(std::str::from_utf8(&paid.data).unwrap().contains(POISON_CURRENCY));
            let later: Vec<u32> = (0..1_000)
                .map(|_| orders.next_event())
                .filter(|event| event.key == paid.key)
                .map(|event| event.seq)
                .collect();
            assert_eq!(later, [2, 3, 4], "seed {seed}");
        }
    }

    #[test]
    fn amounts_have_two_places() {
        assert_eq!((money(1_205).as_str(), money(7).as_str()), ("12.05", "0.07"));
    }
}

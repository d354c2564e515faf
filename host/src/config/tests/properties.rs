//! What holds for every text.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Values of every type, few of them right anywhere.
const VALUES: [&str; 14] = [
    "1",
    "-1",
    "1.5",
    "true",
    "false",
    "'x'",
    "''",
    "[]",
    "{}",
    "[[1]]",
    "{ a = 1 }",
    "1979-05-27",
    "0xff",
    "99999999999999999999999",
];

/// A service and what must become of it.
#[derive(Clone, Debug)]
struct Expected {
    /// By port.
    weights: BTreeMap<u16, u32>,
    timeout: Duration,
    most: u32,
    ejects: bool,
}

impl Expected {
    fn any() -> impl Strategy<Value = Self> {
        let weights = prop::collection::btree_map(1..u16::MAX, 1..=1000_u32, 1..5);
        let timeout = (1..=86_400_000_u64).prop_map(Duration::from_millis);
        let parts = (weights, timeout, 1..=10_u32, any::<bool>());
        parts.prop_map(|(weights, timeout, most, ejects)| Self { weights, timeout, most, ejects })
    }

    fn write(&self, name: &str, text: &mut String) {
        let endpoint = |(port, weight)| format!("{{ address = '127.0.0.1:{port}', weight = {weight} }}");
        let endpoints: Vec<_> = self.weights.iter().map(endpoint).collect();
        writeln!(text, "[service.{name}]\nendpoints = [{}]", endpoints.join(", ")).unwrap();
        writeln!(text, "timeout = '{}'\nretry = {{ most = {} }}", texts::show_duration(self.timeout), self.most)
            .unwrap();
        if !self.ejects {
            text.push_str("ejection = false\n");
        }
    }
}

proptest! {
    #[test]
    fn durations_come_back(micros in any::<u64>()) {
        let duration = Duration::from_micros(micros);
        prop_assert_eq!(texts::duration(&texts::show_duration(duration)), Some(duration));
    }

    #[test]
    fn round_durations_come_back_short(count in 1..1000_u64, unit in 0..6_usize) {
        let text = format!("{count}{}", ["us", "ms", "s", "m", "h", "d"][unit]);
        let shown = texts::show_duration(texts::duration(&text).unwrap());
        prop_assert!(shown.len() <= text.len());
        prop_assert_eq!(texts::duration(&shown), texts::duration(&text));
    }

    #[test]
    fn sizes_come_back(bytes in any::<u64>(), shift in 0..64_u32) {
        let bytes = bytes << shift;
        prop_assert_eq!(texts::size(&texts::show_size(bytes)), Some(bytes));
    }

    #[test]
    fn addresses_come_back(address in any::<SocketAddr>()) {
        let zone = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0 || address.flowinfo() != 0);
        prop_assume!(!zone);
        prop_assert_eq!(texts::socket(&address.to_string()), Ok(address));
    }

    #[test]
    fn networks_come_back(address in any::<std::net::IpAddr>(), bits in 0..=32_u8) {
        let read = texts::cidr(&format!("{address}/{bits}"));
        let network = read.unwrap_or_else(|what| {
            texts::cidr(what.split('`').nth(1).expect("the message names the network")).expect("it is one")
        });
        prop_assert_eq!(network.bits, bits);
        prop_assert_eq!(texts::cidr(&format!("{}/{bits}", network.address)), Ok(network));
    }

    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        let faults = parse(&text).err();
        prop_assert!(faults.is_none_or(|faults| !faults.is_empty()));
        let _ = (texts::duration(&text), texts::size(&text), texts::socket(&text), texts::cidr(&text));
        let _ = (texts::host(&text), texts::path(&text), texts::statuses(&text), texts::sha256(&text));
    }

    #[test]
    fn no_change_of_a_good_file_is_too_strange(
        at in 0..COMPLETE.len(),
        cut in 0..40_usize,
        with in "[-a-z0-9{}\\[\\]=\"'., \n#/:%]{0,12}",
    ) {
        let end = COMPLETE.len().min(at + cut);
        let text = format!("{}{with}{}", &COMPLETE[..at], &COMPLETE[end..]);
        if let Err(faults) = parse(&text) {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.iter().all(|fault| fault.line.is_some_and(|line| (1..=lines).contains(&line))));
        }
    }

    #[test]
    fn no_value_is_too_strange(pick in any::<prop::sample::Index>(), value in prop::sample::select(VALUES.to_vec())) {
        let keys = keys_of(COMPLETE);
        let (_, end) = keys[pick.index(keys.len())];
        let line = end + COMPLETE[end..].find('\n').unwrap_or(0);
        let text = format!("{} = {value}{}", &COMPLETE[..end], &COMPLETE[line..]);
        prop_assert!(parse(&text).err().is_none_or(|faults| !faults.is_empty()));
    }

    #[test]
    fn what_is_written_by_the_rules_is_read(
        services in prop::collection::btree_map("[a-z][a-z0-9-]{0,12}", Expected::any(), 1..5),
    ) {
        let mut text = String::new();
        services.iter().for_each(|(name, service)| service.write(name, &mut text));
        for name in services.keys() {
            writeln!(text, "[[api]]\nname = '{name}'\nservice = '{name}'\npaths = ['/{name}']").unwrap();
        }
        let config = parse(&text).map_err(|faults| TestCaseError::fail(format!("{faults:?}\n{text}")))?;
        prop_assert_eq!(config.apis.len(), services.len());
        for (name, expected) in &services {
            let read = &config.services[name.as_str()];
            let weights = read.endpoints.listed().iter().map(|endpoint| (endpoint.address.port(), endpoint.weight));
            prop_assert_eq!(&weights.collect::<BTreeMap<_, _>>(), &expected.weights);
            let (timeout, most, ejects) = (expected.timeout, expected.most, expected.ejects);
            prop_assert_eq!((read.timeout, read.retry.as_ref().map(|retry| retry.most), read.ejection.is_some()), (timeout, Some(most), ejects));
        }
    }
}

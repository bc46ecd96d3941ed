//! What an IP address reaches.
//!
//! From the special-purpose registries of IANA (RFC 6890 and its updates). An address that carries another one, as an
//! IPv4-mapped one does, reaches what that one reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The internet.
    Public,
    /// This machine or its network: loopback, private, shared (carrier-grade NAT) and unique local ranges.
    Private,
    /// The link: where clouds answer with the machine's credentials, too.
    Link,
    /// Nothing that answers HTTP: unspecified, multicast, broadcast, reserved.
    Nothing,
}

/// What `address` reaches.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Reach {
    if METADATA.contains(&address) {
        return Reach::Link;
    }
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) | (224..=255, ..) => Reach::Nothing,
        (127 | 10, ..) | (192, 168, _) | (172, 16..=31, _) | (100, 64..=127, _) => Reach::Private,
        (169, 254, _) => Reach::Link,
        // protocol assignments, documentation, benchmarks, the relay of 6to4
        (192, 0, 0 | 2) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) => Reach::Nothing,
        _ => Reach::Public,
    }
}

/// Where clouds answer with the machine's credentials outside the link-local range: Azure's wire server and Alibaba's.
const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];

fn v6(address: Ipv6Addr) -> Reach {
    let parts = address.segments();
    let low = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // IPv4-mapped, and IPv4-translated (SIIT)
        [0, 0, 0, 0, 0, 0xffff, high, low_part] | [0, 0, 0, 0, 0xffff, 0, high, low_part] => low(high, low_part),
        // NAT64: the well-known prefix
        [0x64, 0xff9b, 0, 0, 0, 0, high, low_part] => low(high, low_part),
        // NAT64 of a network's own
        [0x64, 0xff9b, 1, ..] => Reach::Private,
        // 6to4
        [0x2002, high, low_part, ..] => low(high, low_part),
        // unspecified and IPv4-compatible; nobody uses the latter
        [0, 0, 0, 0, 0, 0, ..] => Reach::Nothing,
        // Amazon's metadata service stands in a unique local range
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Reach::Link,
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // site-local, long deprecated
        [0xfec0..=0xfeff, ..] => Reach::Private,
        [0xfe80..=0xfebf, ..] => Reach::Link,
        // Teredo, benchmarks, ORCHID, documentation, discard
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x100, ..] => Reach::Nothing,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_range_reaches_what_it_is_meant_for() {
        let table = [
            (
                Reach::Public,
                "1.1.1.1 8.8.8.8 93.184.216.34 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.167.1.1 11.0.0.1 223.255.255.1",
            ),
            (Reach::Public, "2606:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1"),
            (
                Reach::Private,
                "127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255",
            ),
            (
                Reach::Private,
                "::1 ::ffff:127.0.0.1 ::ffff:10.1.1.1 64:ff9b::10.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1::1 fc00::1 fdff::1 fec0::1",
            ),
            (Reach::Private, "::ffff:0:127.0.0.1"),
            (
                Reach::Link,
                "169.254.169.254 169.254.0.1 ::ffff:169.254.169.254 64:ff9b::169.254.169.254 fe80::1 febf::1 fd00:ec2::254 168.63.129.16 100.100.100.200",
            ),
            (
                Reach::Nothing,
                "0.0.0.0 0.1.2.3 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1",
            ),
            (
                Reach::Nothing,
                ":: ::2 ::127.0.0.1 ff02::1 2001::1 2001:db8::1 100::1 4000::1 ::ffff:0.0.0.0 ::ffff:224.0.0.1 5f00::1",
            ),
        ];
        for (expected, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_address_in_other_clothes_reaches_no_more(bits in any::<u32>()) {
            let (v4, [a, b, c, d]) = (Ipv4Addr::from_bits(bits), bits.to_be_bytes());
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for parts in [[0, 0, 0, 0, 0, 0xffff, high, low], [0x64, 0xff9b, 0, 0, 0, 0, high, low], [0x2002, high, low, 0, 0, 0, 0, 1]] {
                prop_assert_eq!(reach(IpAddr::V6(parts.into())), reach(IpAddr::V4(v4)));
            }
        }
    }
}

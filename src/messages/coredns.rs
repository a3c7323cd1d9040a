//! CoreDNS, the DNS server of most clusters.

/// The zone for which a DNS pod sends questions to itself, if it ends for that (`plugin/loop/loop.go:ServeDNS`, coredns/coredns 4b26cce):
/// `[FATAL] plugin/loop: Loop (127.0.0.1:… -> :53) detected for zone ".", see …`, with the zone as Go quotes it.
pub fn looping_zone(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("plugin/loop: Loop (")?;
    let (_, rest) = rest.split_once("detected for zone \"")?;
    rest.split_once('"').map(|(zone, _)| zone)
}

#[cfg(test)]
mod tests {
    use super::looping_zone;

    #[test]
    fn a_loop_is_recognised() {
        let line = "[FATAL] plugin/loop: Loop (127.0.0.1:55953 -> :1053) detected for zone \".\", see \
             https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO 4547991504243258144.3688648895315093531.\"";
        assert_eq!(looping_zone(line), Some("."));
        for other in
            ["[INFO] plugin/loop: nothing", "plugin/loop: Loop (", "Loop (a) detected for zone \".\""]
        {
            assert_eq!(looping_zone(other), None, "{other}");
        }
    }
}

//! Amounts of CPU, memory and other resources: what a pod asks for, what a node has, and how to write it.

use super::prelude::*;
use crate::messages::quota::Lack;

/// Twice a quantity, in the unit that is natural to its own: `512Mi` becomes `1Gi`, `500M` becomes `1G`.
pub(super) fn doubled(text: &str) -> Option<String> {
    const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = DECIMAL.iter().position(|unit| *unit == &text[digits..]).filter(|unit| *unit > 0);
    if let (Some(mut unit), Ok(number)) = (unit, text[..digits].parse::<u64>()) {
        let mut double = number.checked_mul(2)?;
        while double >= 1000 && double % 1000 == 0 && unit + 1 < DECIMAL.len() {
            (double, unit) = (double / 1000, unit + 1);
        }
        return Some(format!("{double}{}", DECIMAL[unit]));
    }
    let one = Quantity::parse(text)?;
    let double: Quantity = [one, one].into_iter().sum();
    let text = double.to_string();
    // Parts of a byte are nothing to advise.
    (!text.ends_with('m') && double > Quantity::default()).then_some(text)
}

/// What the pod asks for at least of a resource: its containers together, or one of its init containers.
pub(super) fn requested(pod: &Pod, resource: &str) -> Option<Quantity> {
    summed(pod, |resources| resources.requests.get(resource).or_else(|| resources.limits.get(resource)))
}

/// What the pod may use at most of a resource, by the limits of its containers.
pub(super) fn limited(pod: &Pod, resource: &str) -> Option<Quantity> {
    summed(pod, |resources| resources.limits.get(resource))
}

/// A limit with room for this many more of what was asked.
pub(super) fn enough(lack: &Lack<'_>, times: usize) -> Option<Quantity> {
    let (used, asked) = (Quantity::parse(lack.used)?, Quantity::parse(lack.asked)?);
    Some(std::iter::once(used).chain(std::iter::repeat_n(asked, times)).sum())
}

/// Whether the quota has room by now: then the next try, which may be minutes away, succeeds. `None` where it was not seen.
pub(super) fn has_room(snapshot: &Snapshot<'_>, quota: &str, lacking: &[Lack<'_>]) -> Option<bool> {
    let quota = snapshot.quotas().ok()?.iter().find(|known| known.metadata.name == quota)?;
    let status = &quota.status;
    let fits = |lack: &Lack<'_>| {
        let parse = |map: &Map| Quantity::parse(map.get(lack.resource)?);
        let (Some(hard), Some(used)) = (parse(&status.hard), parse(&status.used)) else {
            return !status.hard.contains_key(lack.resource);
        };
        Quantity::parse(lack.asked).is_some_and(|asked| [used, asked].into_iter().sum::<Quantity>() <= hard)
    };
    Some(lacking.iter().all(fits))
}

fn summed<'p>(pod: &'p Pod, amount: impl Fn(&'p Resources) -> Option<&'p String>) -> Option<Quantity> {
    let of = |container: &'p Container| Quantity::parse(amount(&container.resources)?);
    let (sidecars, inits): (Vec<_>, Vec<_>) =
        pod.spec.init_containers.iter().partition(|init| pod.is_sidecar(&init.name));
    let together: Quantity = pod.spec.containers.iter().chain(sidecars).filter_map(of).sum();
    let most = inits.into_iter().filter_map(of).fold(together, Ord::max);
    (most > Quantity::default()).then_some(most)
}

/// That the pod asks for more than the largest node has: `web-0 requests 64 cpu, but the largest node has 32`. `None`
/// where a node is large enough, or no nodes were seen.
pub(super) fn too_large(snapshot: &Snapshot<'_>, pod: &Pod, resource: &str) -> Option<String> {
    let nodes = snapshot.nodes().ok().filter(|nodes| !nodes.is_empty())?;
    let wanted = requested(pod, resource)?;
    let has = |node: &Node| Quantity::parse(node.status.allocatable.get(resource)?);
    // A node that does not say what it has may have anything.
    if nodes.iter().any(|node| node.status.allocatable.is_empty()) {
        return None;
    }
    let largest = nodes.iter().filter_map(has).max().unwrap_or_default();
    if wanted <= largest {
        return None;
    }
    let texts = [wanted, largest].map(|amount| natural(resource, amount));
    let [wants, has] =
        if texts[0] == texts[1] { [wanted, largest].map(|amount| amount.to_string()) } else { texts };
    let has = if largest == Quantity::default() {
        "no node has any".to_owned()
    } else {
        format!("the largest node has {has}")
    };
    Some(format!("{} requests {wants} {resource}, but {has}", pod.metadata.name))
}

/// An amount rounded as a human writes it: `31.3Gi` of memory, `3.92` of cpu.
pub(super) fn natural(resource: &str, amount: Quantity) -> String {
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let text = amount.to_string();
    let unit = BINARY.iter().rposition(|unit| text.ends_with(unit)).unwrap_or(0);
    let number = text[..text.len() - BINARY[unit].len()].parse::<f64>();
    let (mut number, mut unit) = match (number, text.strip_suffix('m').map(str::parse::<f64>)) {
        (Ok(number), _) => (number, unit),
        (Err(_), Some(Ok(thousandths))) => (thousandths / 1000.0, 0),
        _ => return text,
    };
    let bytes = ["memory", "ephemeral-storage"].contains(&resource) || resource.starts_with("hugepages-");
    if bytes {
        while number >= 1024.0 && unit + 1 < BINARY.len() {
            (number, unit) = (number / 1024.0, unit + 1);
        }
    } else {
        while unit > 0 {
            (number, unit) = (number * 1024.0, unit - 1);
        }
    }
    let rounded = if bytes { format!("{number:.1}") } else { format!("{number:.2}") };
    format!("{}{}", rounded.trim_end_matches('0').trim_end_matches('.'), BINARY[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_a_limit_is_written_in_its_natural_unit() {
        for (limit, double) in [
            ("64Mi", Some("128Mi")),
            ("512Mi", Some("1Gi")),
            ("1Gi", Some("2Gi")),
            ("1.5Gi", Some("3Gi")),
            ("500M", Some("1G")),
            ("600M", Some("1200M")),
            ("134217728", Some("256Mi")),
            ("0", None),
            ("100m", None),
            ("lots", None),
        ] {
            assert_eq!(doubled(limit).as_deref(), double, "{limit}");
        }
    }

    #[test]
    fn amounts_are_rounded_as_humans_write_them() {
        for (resource, amount, text) in [
            ("cpu", "64", "64"),
            ("cpu", "3920m", "3.92"),
            ("cpu", "1024", "1024"),
            ("memory", "32780456Ki", "31.3Gi"),
            ("memory", "64Gi", "64Gi"),
            ("memory", "1000", "1000"),
            ("nvidia.com/gpu", "8", "8"),
        ] {
            assert_eq!(natural(resource, Quantity::parse(amount).unwrap()), text, "{amount}");
        }
    }
}

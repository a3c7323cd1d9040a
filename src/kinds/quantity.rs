//! Kubernetes quantities such as `10Gi` or `500m`, exact enough to compare and to add up.

use std::fmt;
use std::iter::Sum;

/// A quantity in thousandths of its unit (of a byte, of a CPU).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

const BINARY: [(&str, i128); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, i32); 9] =
    [("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// Reads the serialised form of `apimachinery/pkg/api/resource.Quantity`; parts below a thousandth are rounded up,
    /// as there. `None` for anything else.
    pub fn parse(text: &str) -> Option<Quantity> {
        let (number, scale, exponent) =
            if let Some((unit, factor)) = BINARY.iter().find(|(unit, _)| text.ends_with(unit)) {
                (&text[..text.len() - unit.len()], *factor, 0)
            } else if let Some((unit, exponent)) = DECIMAL.iter().find(|(unit, _)| text.ends_with(unit)) {
                (&text[..text.len() - unit.len()], 1, *exponent)
            } else if let Some((number, exponent)) = text.split_once(['e', 'E']) {
                (number, 1, exponent.parse().ok()?)
            } else {
                (text, 1, 0)
            };
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty()
            || !(whole.to_owned() + fraction).bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let all: i128 = format!("{whole}{fraction}").parse().ok()?;
        let exponent: i32 = exponent;
        let shift = exponent.checked_add(3)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let scaled = all.checked_mul(scale)?;
        let power = 10i128.checked_pow(shift.unsigned_abs())?;
        let thousandths =
            if shift >= 0 { scaled.checked_mul(power)? } else { scaled.checked_add(power - 1)? / power };
        Some(Quantity(if negative { -thousandths } else { thousandths }))
    }
}

impl Quantity {
    /// As a whole number of its unit, such as bytes, rounded up; `None` where that is no number for programs.
    pub fn whole(self) -> Option<i64> {
        let rounds_up = self.0 % 1000 > 0;
        i64::try_from((self.0 / 1000).checked_add(i128::from(rounds_up))?).ok()
    }
}

impl Quantity {
    /// What is left of it; nothing where more is taken away.
    #[must_use]
    pub fn less(self, other: Quantity) -> Quantity {
        Quantity(self.0.saturating_sub(other.0).max(0))
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Quantity>>(iter: I) -> Quantity {
        Quantity(iter.fold(0, |sum, quantity| sum.saturating_add(quantity.0)))
    }
}

impl fmt::Display for Quantity {
    /// With the largest binary unit that divides it, as `kubectl get pvc` shows sizes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1000 != 0 {
            return write!(f, "{}m", self.0);
        }
        let bytes = self.0 / 1000;
        match BINARY.iter().find(|(_, factor)| bytes != 0 && bytes % factor == 0) {
            Some((unit, factor)) => write!(f, "{}{unit}", bytes / factor),
            None => write!(f, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn reads_what_the_api_server_writes() {
        for (text, thousandths) in [
            ("1", 1000),
            ("500m", 500),
            ("10Gi", 10 * (1i128 << 30) * 1000),
            ("1.5Gi", 3 * (1i128 << 29) * 1000),
            ("1e3", 1_000_000),
            ("12E2", 1_200_000),
            ("2k", 2_000_000),
            ("1u", 1),
            ("-1", -1000),
            ("0", 0),
        ] {
            assert_eq!(Quantity::parse(text), Some(Quantity(thousandths)), "{text}");
            let whole = i64::try_from(thousandths).ok().map(|it| it / 1000 + i64::from(it % 1000 > 0));
            assert_eq!(Quantity(thousandths).whole(), whole, "{text}");
        }
        for text in ["", "Gi", "ten", "1.2.3", "1 Gi", "--1"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn adds_up_and_shows_the_largest_unit() {
        let sum: Quantity = ["10Gi", "10Gi", "512Mi"].iter().filter_map(|text| Quantity::parse(text)).sum();
        assert_eq!(sum.to_string(), "20992Mi");
        assert_eq!(
            ["512Gi", "512Gi"].iter().filter_map(|t| Quantity::parse(t)).sum::<Quantity>().to_string(),
            "1Ti"
        );
        assert!(Quantity::parse("1Gi") > Quantity::parse("1G"));
    }
}

//! The same types from protobuf, which the API server has for all built-in kinds: `partial!` gives each field its number, and
//! what has no number here is skipped by its length.
//!
//! Numbers are those of `generated.proto` in k8s.io/api and k8s.io/apimachinery, where `2 / 10` is the field 10 of the message
//! in field 2: JSON has no such message between. Go writes fields that are no pointers even if they are zero, where JSON leaves
//! them out, so zero has to mean what absence means.

use jiff::Timestamp;

use super::{IntOrString, Map, Said};

/// What is no protobuf, or not of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A type that can be read from protobuf.
pub trait Wire: Sized {
    /// Takes one occurrence of its field in: the last of a number counts, messages and lists are put together.
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed>;

    /// Whether there is anything in it: a time that was never set is an empty message.
    fn is_there(_: Field<'_>) -> bool {
        true
    }
}

/// Reads a whole message.
pub(crate) fn decode<T: Wire + Default>(bytes: &[u8]) -> Result<T, Malformed> {
    let mut message = T::default();
    message.merge(Field::Bytes(bytes))?;
    Ok(message)
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'b> {
    /// A number, or true and false.
    Number(u64),
    /// A text, a message, or bytes.
    Bytes(&'b [u8]),
    /// Of a fixed width: no field that is read here.
    Fixed,
}

impl<'b> Field<'b> {
    pub(crate) fn bytes(self) -> Result<&'b [u8], Malformed> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            Field::Number(_) | Field::Fixed => Err(Malformed),
        }
    }

    pub(crate) fn number(self) -> Result<u64, Malformed> {
        match self {
            Field::Number(number) => Ok(number),
            Field::Bytes(_) | Field::Fixed => Err(Malformed),
        }
    }

    /// What JSON would have: Go replaces there what is no UTF-8.
    pub(crate) fn text(self) -> Result<String, Malformed> {
        let bytes = self.bytes()?;
        // Almost all is UTF-8, and is found to be so much faster than it is replaced.
        Ok(str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned))
    }

    /// The fields of the message that it is.
    pub(crate) fn fields(self) -> Result<Fields<'b>, Malformed> {
        self.bytes().map(Fields)
    }
}

/// The fields of a message, one after the other.
pub(crate) struct Fields<'b>(pub &'b [u8]);

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Field<'b>)> {
        let key = varint(&mut self.0)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut self.0)?),
            1 | 5 => {
                self.0 = self.0.get(if key & 7 == 1 { 8 } else { 4 }..)?;
                Field::Fixed
            }
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).ok()?;
                let (value, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Field::Bytes(value)
            }
            // Groups, which Kubernetes has not.
            _ => return None,
        };
        let number = key >> 3;
        Some((if number < WITHIN { number } else { NONE }, field))
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u64, Field<'b>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

/// Reads a number in pieces of seven bits, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message within another get numbers above all numbers there are.
pub(crate) const WITHIN: u64 = 1000;
/// What no field has, for those that would have such a number.
const NONE: u64 = 0;

/// Declares how a type of `partial!` is read.
macro_rules! wire {
    ($name:ident { $($field:ident => $outer:literal $(/ $inner:literal)? $(via $with:ident)?),* $(,)? }) => {
        impl crate::kinds::wire::Wire for $name {
            fn merge(&mut self, value: crate::kinds::wire::Field<'_>) -> Result<(), crate::kinds::wire::Malformed> {
                for field in value.fields()? {
                    let (number, value) = field?;
                    self.take(number, value)?;
                }
                Ok(())
            }
        }

        impl $name {
            #[allow(unused_variables, clippy::unnecessary_wraps, reason = "a type may have no field at all")]
            pub(in crate::kinds) fn take(
                &mut self,
                number: u64,
                value: crate::kinds::wire::Field<'_>,
            ) -> Result<(), crate::kinds::wire::Malformed> {
                $(
                    if number == crate::kinds::wire::number!($outer $($inner)?) {
                        return crate::kinds::wire::merged!(self.$field, value $(, $with)?);
                    }
                )*
                $($(
                    // Many fields may lie in the same message, which is read once.
                    if number == $outer {
                        let _ = $inner;
                        for field in value.fields()? {
                            let (inner, value) = field?;
                            self.take(number * crate::kinds::wire::WITHIN + inner, value)?;
                        }
                        return Ok(());
                    }
                )?)*
                Ok(())
            }
        }
    };
}
pub(crate) use wire;

/// The number of a field, also of one within another.
macro_rules! number {
    ($outer:literal) => {
        $outer
    };
    ($outer:literal $inner:literal) => {
        $outer * crate::kinds::wire::WITHIN + $inner
    };
}
pub(crate) use number;

/// Takes a value in, by the type or by a function for types that protobuf has more of.
macro_rules! merged {
    ($place:expr, $value:ident) => {
        crate::kinds::wire::Wire::merge(&mut $place, $value)
    };
    ($place:expr, $value:ident, $with:ident) => {
        crate::kinds::wire::$with(&mut $place, $value)
    };
}
pub(crate) use merged;

impl Wire for String {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        *self = value.text()?;
        Ok(())
    }
}

impl Wire for Said {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        *self = Said::from(value.text()?);
        Ok(())
    }
}

impl Wire for bool {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        *self = value.number()? != 0;
        Ok(())
    }
}

impl Wire for i64 {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        *self = value.number()?.cast_signed();
        Ok(())
    }
}

impl Wire for i32 {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        *self = i32::try_from(value.number()?.cast_signed()).map_err(|_| Malformed)?;
        Ok(())
    }
}

impl Wire for Timestamp {
    /// metav1.Time and metav1.MicroTime.
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        let (mut seconds, mut nanoseconds) = (0i64, 0i32);
        for field in value.fields()? {
            match field? {
                (1, value) => seconds.merge(value)?,
                (2, value) => nanoseconds.merge(value)?,
                _ => {}
            }
        }
        *self = Timestamp::new(seconds, nanoseconds).map_err(|_| Malformed)?;
        Ok(())
    }

    fn is_there(value: Field<'_>) -> bool {
        value != Field::Bytes(&[])
    }
}

impl<T: Wire + Default> Wire for Option<T> {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        if !T::is_there(value) {
            return Ok(());
        }
        self.get_or_insert_default().merge(value)
    }
}

impl<T: Wire> Wire for Box<T> {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        (**self).merge(value)
    }

    fn is_there(value: Field<'_>) -> bool {
        T::is_there(value)
    }
}

/// Adds an item to a list of which a cluster has very many, most of them short: `Vec` itself begins with room for four.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 2).max(1));
    }
    list.push(item);
}

impl<T: Wire + Default> Wire for Vec<T> {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        let mut item = T::default();
        item.merge(value)?;
        push(self, item);
        Ok(())
    }
}

impl Wire for Map {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        let (key, value) = entry(value)?;
        self.insert(key.text()?, value.text()?);
        Ok(())
    }
}

impl Wire for IntOrString {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        let (mut is_text, mut int, mut text) = (0i64, 0i32, String::new());
        for field in value.fields()? {
            match field? {
                (1, value) => is_text.merge(value)?,
                (2, value) => int.merge(value)?,
                (3, value) => text.merge(value)?,
                _ => {}
            }
        }
        *self = if is_text == 0 { IntOrString::Int(int) } else { IntOrString::Text(text) };
        Ok(())
    }
}

/// The key and the value of an entry of a map.
pub(crate) fn entry(value: Field<'_>) -> Result<(Field<'_>, Field<'_>), Malformed> {
    let (mut key, mut content) = (Field::Bytes(&[]), Field::Bytes(&[]));
    for field in value.fields()? {
        match field? {
            (1, value) => key = value,
            (2, value) => content = value,
            _ => {}
        }
    }
    Ok((key, content))
}

/// A resource.Quantity, as written.
pub(crate) fn quantity(place: &mut String, value: Field<'_>) -> Result<(), Malformed> {
    for field in value.fields()? {
        if let (1, value) = field? {
            place.merge(value)?;
        }
    }
    Ok(())
}

/// A map of quantities, as written.
pub(crate) fn quantities(place: &mut Map, value: Field<'_>) -> Result<(), Malformed> {
    let (key, value) = entry(value)?;
    let mut text = String::new();
    quantity(&mut text, value)?;
    place.insert(key.text()?, text);
    Ok(())
}

/// A number of which Go writes zero where JSON has none.
pub(crate) fn unless_zero(place: &mut Option<i32>, value: Field<'_>) -> Result<(), Malformed> {
    let mut number = 0;
    number.merge(value)?;
    *place = (number != 0).then_some(number);
    Ok(())
}

/// Conditions of a StatefulSet, which have other numbers than those of pods, PVCs and nodes.
pub(crate) fn set_conditions(place: &mut Vec<super::Condition>, value: Field<'_>) -> Result<(), Malformed> {
    let mut condition = super::Condition::default();
    for field in value.fields()? {
        match field? {
            (1, value) => condition.r#type.merge(value)?,
            (2, value) => condition.status.merge(value)?,
            (3, value) => condition.last_transition_time.merge(value)?,
            (4, value) => condition.reason.merge(value)?,
            (5, value) => condition.message.merge(value)?,
            _ => {}
        }
    }
    push(place, condition);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Pod, Probe, ServiceSpec};

    #[test]
    fn what_is_not_read_is_skipped_whatever_its_form() {
        // Fields 100 of each form around a name.
        let name = b"\x0a\x06\x0a\x04web-";
        let others: [&[u8]; 4] = [
            b"\xa0\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xa1\x0612345678",
            b"\xa2\x06\x03abc",
            b"\xa5\x061234",
        ];
        for other in others {
            let pod: Pod = decode(&[other, name.as_slice(), other].concat()).unwrap_or_default();
            assert_eq!(pod.metadata.name, "web-", "{other:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_is_an_error() {
        let pod = b"\x0a\x06\x0a\x04web-\x1a\x09\x0a\x07Running";
        assert!(decode::<Pod>(pod).is_ok());
        for end in (1..pod.len()).filter(|end| *end != 8) {
            assert_eq!(decode::<Pod>(pod.get(..end).unwrap_or_default()), Err(Malformed), "{end}");
        }
        // A number where the metadata belongs, a group, and a number longer than any.
        for wrong in [&b"\x08\x01"[..], b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            assert_eq!(decode::<Pod>(wrong), Err(Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_signed_and_of_their_width() {
        let mut number = 0i32;
        for (value, read) in [(u64::MAX, Ok(-1)), (1 << 31, Err(Malformed)), (0x7fff_ffff, Ok(i32::MAX))] {
            assert_eq!(number.merge(Field::Number(value)).map(|()| number), read, "{value}");
        }
        // A period of zero, and one of five.
        let probe: Probe = decode(b"\x20\x00\x28\x05").unwrap_or_default();
        assert_eq!((probe.period_seconds, probe.success_threshold), (None, Some(5)));
    }

    #[test]
    fn a_field_within_a_message_has_no_number_of_its_own() {
        // What would be field 1 of message 1, if numbers were only added up.
        let number = WITHIN + 2;
        let mut bytes = Vec::new();
        let mut key = number << 3 | 2;
        while key >= 0x80 {
            bytes.push(u8::try_from(key & 0x7f).unwrap_or_default() | 0x80);
            key >>= 7;
        }
        bytes.extend([u8::try_from(key).unwrap_or_default(), 0]);
        assert_eq!(decode::<Probe>(&bytes), Ok(Probe::default()));
        assert!(decode::<Probe>(b"\x0a\x02\x12\x00").is_ok_and(|probe| probe.http_get.is_some()));
    }

    #[test]
    fn what_is_no_utf_8_is_replaced_as_go_does() {
        let spec: ServiceSpec = decode(b"\x52\x03a\xffb").unwrap_or_default();
        assert_eq!(spec.external_name, "a\u{fffd}b");
    }
}

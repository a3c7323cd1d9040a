//! Questions and answers in the format of DNS. What a DNS pod answers is up to whoever runs it: an answer counts only if it
//! is one to the question.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use crate::snapshot::{DnsAnswer, DnsCode};

/// Most addresses that are kept of an answer.
const ADDRESSES: usize = 2000;
/// Most aliases that are followed: resolvers stop somewhere there too.
const ALIASES: usize = 16;

/// A question for the addresses of one family.
#[derive(Clone, Debug)]
pub(super) struct Question {
    id: u16,
    name: Name,
    kind: RecordType,
}

impl Question {
    /// `None` if that cannot be a name.
    pub(super) fn new(id: u16, name: &str, is_ipv6: bool) -> Option<Question> {
        let mut name = Name::from_ascii(name.trim_end_matches('.')).ok()?;
        name.set_fqdn(true);
        Some(Question { id, name, kind: if is_ipv6 { RecordType::AAAA } else { RecordType::A } })
    }

    /// A question for the name of an address.
    pub(super) fn reverse(id: u16, address: IpAddr) -> Question {
        let mut name = Name::from(address);
        name.set_fqdn(true);
        Question { id, name, kind: RecordType::PTR }
    }

    /// As it is sent over TCP: with its length in front.
    pub(super) fn framed(&self) -> Option<Vec<u8>> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind));
        let bytes = message.to_vec().ok()?;
        let length = u16::try_from(bytes.len()).ok()?;
        Some([length.to_be_bytes().as_slice(), &bytes].concat())
    }

    /// Whether a message may be the answer.
    pub(super) fn is_asked_by(&self, bytes: &[u8]) -> bool {
        bytes.get(..2) == Some(self.id.to_be_bytes().as_slice())
    }

    /// The message, if it is an answer to this question.
    fn message(&self, bytes: &[u8]) -> Result<Message, String> {
        let message =
            Message::from_vec(bytes).map_err(|error| format!("the answer cannot be read: {error}"))?;
        let is_answer = message.metadata.message_type == MessageType::Response
            && message.metadata.op_code == OpCode::Query
            && message.metadata.id == self.id;
        let [asked] = message.queries.as_slice() else {
            return Err("the answer does not repeat the question".to_owned());
        };
        let is_same = asked.name().eq_ignore_root(&self.name)
            && asked.query_type() == self.kind
            && asked.query_class() == DNSClass::IN;
        if !is_answer || !is_same {
            return Err("the answer is one to another question".to_owned());
        }
        if message.metadata.truncation {
            return Err("the answer is incomplete".to_owned());
        }
        Ok(message)
    }

    /// What the answer says.
    pub(super) fn answer(&self, bytes: &[u8]) -> DnsAnswer {
        let message = match self.message(bytes) {
            Ok(message) => message,
            Err(why) => return failed(why),
        };
        match message.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => {
                return DnsAnswer { code: DnsCode::NoName, ttl: negative(&message), ..DnsAnswer::default() };
            }
            ResponseCode::ServFail => return failed("SERVFAIL".to_owned()),
            ResponseCode::Refused => return failed("REFUSED".to_owned()),
            other => return failed(format!("response code {}", u16::from(other))),
        }
        let (mut owner, mut ttl) = (self.name.clone(), u32::MAX);
        for _ in 0..ALIASES {
            let alias = message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name.eq_ignore_root(&owner) => {
                    Some((target.0.clone(), record.ttl))
                }
                _ => None,
            });
            let Some((target, kept)) = alias else { break };
            (owner, ttl) = (target, ttl.min(kept));
        }
        let mut addresses = BTreeSet::new();
        for record in message.answers.iter().filter(|record| record.name.eq_ignore_root(&owner)) {
            let address = match (&record.data, self.kind) {
                (RData::A(address), RecordType::A) => IpAddr::V4(address.0),
                (RData::AAAA(address), RecordType::AAAA) => IpAddr::V6(address.0),
                _ => continue,
            };
            ttl = ttl.min(record.ttl);
            if addresses.len() < ADDRESSES {
                addresses.insert(address);
            }
        }
        if addresses.is_empty() {
            return DnsAnswer { code: DnsCode::NoAddress, ttl: negative(&message), ..DnsAnswer::default() };
        }
        let addresses = addresses.into_iter().collect();
        DnsAnswer { code: DnsCode::Found, addresses, ttl: Some(ttl), why: String::new() }
    }

    /// The name that the answer to a [`reverse`](Question::reverse) question gives.
    pub(super) fn pointed(&self, bytes: &[u8]) -> Option<String> {
        let message = self.message(bytes).ok()?;
        message.answers.iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.0.to_ascii()),
            _ => None,
        })
    }
}

/// No answer, and why.
pub(super) fn failed(why: String) -> DnsAnswer {
    DnsAnswer { code: DnsCode::Failed, why, ..DnsAnswer::default() }
}

/// For how long "there is nothing" may be kept (RFC 2308): the SOA record in the answer says it.
fn negative(message: &Message) -> Option<u32> {
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

/// Both families' answers as one.
pub(super) fn both(v4: DnsAnswer, v6: DnsAnswer) -> DnsAnswer {
    match (v4.code, v6.code) {
        (DnsCode::Found, DnsCode::Found) => {
            let mut addresses = [v4.addresses, v6.addresses].concat();
            addresses.sort_unstable();
            DnsAnswer { code: DnsCode::Found, addresses, ttl: v4.ttl.min(v6.ttl), why: String::new() }
        }
        (DnsCode::Found, _) => v4,
        (_, DnsCode::Found) => v6,
        (DnsCode::Failed, _) => v4,
        (_, DnsCode::Failed) => v6,
        // The one that is kept longer.
        _ if v6.ttl > v4.ttl => DnsAnswer { code: v4.code, ..v6 },
        _ => v4,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};

    use super::*;

    const NAME: &str = "web-0.web.shop.svc.corp.test";

    fn question() -> Question {
        Question::new(7, NAME, false).expect("a name")
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(format!("{text}.")).expect("a name")
    }

    fn reply(
        question: &Question,
        code: ResponseCode,
        answers: Vec<Record>,
        soa: Option<(u32, u32)>,
    ) -> Vec<u8> {
        let mut message = Message::new(question.id, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(Query::query(question.name.clone(), question.kind));
        message.add_answers(answers);
        if let Some((ttl, minimum)) = soa {
            let zone = name("corp.test");
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 7200, 1800, 86400, minimum);
            message.add_authority(Record::from_rdata(zone, ttl, RData::SOA(soa)));
        }
        message.to_vec().expect("it can be written")
    }

    fn a(owner: &str, last: u8) -> Record {
        Record::from_rdata(name(owner), 30, RData::A(A::new(10, 0, 0, last)))
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 9, RData::CNAME(CNAME(name(target))))
    }

    #[test]
    fn a_question_is_written_as_tcp_wants_it() {
        let framed = question().framed().expect("it can be written");
        assert_eq!(usize::from(framed[0]) * 256 + usize::from(framed[1]), framed.len() - 2);
        let back = Message::from_vec(&framed[2..]).expect("it can be read");
        assert_eq!(back.queries[0].name().to_ascii(), format!("{NAME}."));
        assert!(Question::new(1, &"x".repeat(64), false).is_none());
    }

    #[test]
    fn answers_are_told_apart() {
        let question = question();
        let right =
            question.answer(&reply(&question, ResponseCode::NoError, vec![a(NAME, 1), a(NAME, 1)], None));
        assert_eq!((right.code, right.ttl), (DnsCode::Found, Some(30)));
        assert_eq!(right.addresses, ["10.0.0.1".parse::<IpAddr>().expect("an address")]);
        let missing = question.answer(&reply(&question, ResponseCode::NXDomain, vec![], Some((55, 3600))));
        assert_eq!((missing.code, missing.ttl), (DnsCode::NoName, Some(55)));
        let empty = question.answer(&reply(&question, ResponseCode::NoError, vec![], Some((300, 5))));
        assert_eq!((empty.code, empty.ttl), (DnsCode::NoAddress, Some(5)));
        for (code, why) in [(ResponseCode::ServFail, "SERVFAIL"), (ResponseCode::Refused, "REFUSED")] {
            let failed = question.answer(&reply(&question, code, vec![], None));
            assert_eq!((failed.code, failed.why.as_str()), (DnsCode::Failed, why));
        }
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let question = question();
        let other_id = Question { id: 8, ..question.clone() };
        let other_name = Question { name: name("web-1.web.shop.svc.corp.test"), ..question.clone() };
        let other_kind = Question { kind: RecordType::AAAA, ..question.clone() };
        for other in [&other_id, &other_name, &other_kind] {
            let bytes = reply(other, ResponseCode::NoError, vec![a(NAME, 1)], None);
            assert_eq!(question.answer(&bytes).code, DnsCode::Failed);
        }
        assert!(!question.is_asked_by(&reply(&other_id, ResponseCode::NoError, vec![], None)));
        // The question itself comes back.
        let framed = question.framed().expect("it can be written");
        assert_eq!(question.answer(&framed[2..]).code, DnsCode::Failed);
        // An address of another name is beside the point.
        let beside = reply(&question, ResponseCode::NoError, vec![a("evil.test", 9)], None);
        assert_eq!(question.answer(&beside).code, DnsCode::NoAddress);
        // Upper case is the same name.
        let mut upper = question.clone();
        upper.name = name(&NAME.to_uppercase());
        let bytes = reply(&upper, ResponseCode::NoError, vec![a(NAME, 1)], None);
        assert_eq!(question.answer(&bytes).code, DnsCode::Found);
    }

    #[test]
    fn aliases_are_followed_to_their_end_and_no_further() {
        let question = question();
        let chain = vec![a("c.test", 3), alias("b.test", "c.test"), alias(NAME, "b.test")];
        let answer = question.answer(&reply(&question, ResponseCode::NoError, chain, None));
        assert_eq!((answer.addresses.len(), answer.ttl), (1, Some(9)));
        let circle = vec![alias(NAME, "b.test"), alias("b.test", NAME)];
        let answer = question.answer(&reply(&question, ResponseCode::NoError, circle, None));
        assert_eq!(answer.code, DnsCode::NoAddress);
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let question = question();
        let good = reply(&question, ResponseCode::NoError, vec![a(NAME, 1)], None);
        for end in 0..good.len() {
            assert_eq!(question.answer(&good[..end]).code, DnsCode::Failed, "{end}");
        }
        for at in 0..good.len() {
            for bits in [0xff, 0x80, 0x01, 0xc0] {
                let mut bytes = good.clone();
                bytes[at] ^= bits;
                let answer = question.answer(&bytes);
                assert!(answer.addresses.len() <= 1);
            }
        }
        // A name that points to itself.
        let mut looped = good[..12].to_vec();
        looped.extend([0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(question.answer(&looped).code, DnsCode::Failed);
        // A counter that promises more than there is.
        let mut many = good.clone();
        many[6] = 0xff;
        many[7] = 0xff;
        assert_eq!(question.answer(&many).code, DnsCode::Failed);
        let mut cut = good.clone();
        cut[2] |= 0b10;
        assert_eq!(question.answer(&cut).why, "the answer is incomplete");
        // As many records as a message can hold: each name is a pointer to the question.
        let mut full = reply(&question, ResponseCode::NoError, vec![], None);
        let count = 3700u16;
        full[6..8].copy_from_slice(&count.to_be_bytes());
        for n in 0..count {
            let [high, low] = n.to_be_bytes();
            full.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 1, high, low]);
        }
        assert!(full.len() < usize::from(u16::MAX));
        let answer = question.answer(&full);
        assert_eq!((answer.addresses.len(), answer.why.as_str()), (ADDRESSES, ""));
    }

    #[test]
    fn both_families_are_one_answer() {
        let found = |addresses: &[&str], ttl| DnsAnswer {
            code: DnsCode::Found,
            addresses: addresses.iter().map(|text| text.parse().expect("an address")).collect(),
            ttl: Some(ttl),
            why: String::new(),
        };
        let none = |code| DnsAnswer { code, ttl: Some(5), ..DnsAnswer::default() };
        let (v4, v6) = (found(&["10.0.0.1"], 30), found(&["fd00::1"], 20));
        assert_eq!(both(v4.clone(), v6.clone()), found(&["10.0.0.1", "fd00::1"], 20));
        assert_eq!(both(v4.clone(), none(DnsCode::NoAddress)), v4);
        assert_eq!(both(none(DnsCode::NoAddress), v6.clone()), v6);
        assert_eq!(both(none(DnsCode::NoName), none(DnsCode::NoName)).code, DnsCode::NoName);
        assert_eq!(both(none(DnsCode::NoName), failed("x".to_owned())).code, DnsCode::Failed);
        let v6 = Question::new(1, NAME, true).expect("a name");
        let record = Record::from_rdata(name(NAME), 1, RData::AAAA(AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)));
        assert_eq!(v6.answer(&reply(&v6, ResponseCode::NoError, vec![record], None)).addresses.len(), 1);
    }
}

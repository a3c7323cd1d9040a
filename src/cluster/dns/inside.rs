//! DNS as it is inside a pod: with the search path of that pod, asked with what there is in its image.

use std::net::IpAddr;

use futures::future::join_all;

use super::message::failed;
use super::streams::{Ran, run};
use crate::cluster::connect::Connection;
use crate::snapshot::{DnsAnswer, DnsCode, DnsServer, NotRead};
use crate::text::one_line;

/// How many commands run at once.
const AT_ONCE: usize = 4;
/// How many domains of a search path are tried; glibc takes six, newer ones more.
const DOMAINS: usize = 8;

/// What `/etc/resolv.conf` says: the search path, and `ndots`, which is 1 where nothing is said (`resolv.conf(5)`).
fn search_path(text: &str) -> (Vec<String>, u32) {
    let (mut search, mut ndots) = (Vec::new(), 1);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            // The last one counts.
            Some("search" | "domain") => {
                search = words.take(DOMAINS).map(|domain| one_line(domain, 253)).collect();
            }
            Some("options") => {
                let last = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                ndots = last.unwrap_or(ndots).min(15);
            }
            _ => {}
        }
    }
    (search, ndots)
}

/// The domain that a search path of Kubernetes names: that behind `NAMESPACE.svc.` (`dns.go:generateSearchesForDNSClusterFirst`).
pub(super) fn cluster_domain<'s>(search: &'s [String], namespace: &str) -> Option<&'s str> {
    let start = format!("{namespace}.svc.");
    search.iter().find_map(|domain| domain.strip_prefix(&start)).map(|domain| domain.trim_end_matches('.'))
}

/// What a resolver asks for, in this order, when a program asks for the name.
fn candidates(name: &str, search: &[String], ndots: u32) -> Vec<String> {
    let dots = name.matches('.').count();
    let longer = search.iter().map(|domain| format!("{name}.{domain}"));
    let is_first = u32::try_from(dots).is_ok_and(|dots| dots >= ndots);
    let own = std::iter::once(name.to_owned());
    let all: Vec<String> = if is_first { own.chain(longer).collect() } else { longer.chain(own).collect() };
    all.iter().map(|name| format!("{}.", name.trim_end_matches('.'))).collect()
}

fn sorted(mut addresses: Vec<IpAddr>) -> DnsAnswer {
    addresses.sort_unstable();
    addresses.dedup();
    DnsAnswer { code: DnsCode::Found, addresses, ..DnsAnswer::default() }
}

/// What `getent ahosts` says: a line for each address. It ends with 2 where there is none.
fn of_getent(ran: &Ran) -> DnsAnswer {
    let addresses = ran.printed.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    let addresses: Vec<IpAddr> = addresses.take(2000).collect();
    match (ran.code, addresses.is_empty()) {
        (0, false) => sorted(addresses),
        (0 | 2, _) => DnsAnswer { code: DnsCode::NoName, ..DnsAnswer::default() },
        (code, _) => failed(format!("getent ended with {code}")),
    }
}

/// What `nslookup` says, of bind or of busybox: the addresses behind `Name:`, as those before are the server's. It ends with
/// 1 also where only one of the families has none.
fn of_nslookup(ran: &Ran) -> DnsAnswer {
    let behind = ran.printed.lines().skip_while(|line| !line.trim_start().starts_with("Name:"));
    let addresses = behind.filter(|line| line.trim_start().starts_with("Address")).filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_whitespace().next()?.parse().ok()
    });
    let addresses: Vec<IpAddr> = addresses.take(2000).collect();
    if !addresses.is_empty() {
        return sorted(addresses);
    }
    let says = |words: &[&str]| words.iter().any(|words| ran.printed.contains(words));
    if let Some(code) = ["SERVFAIL", "REFUSED"].into_iter().find(|code| says(&[code])) {
        return failed(code.to_owned());
    }
    if says(&["timed out", "no servers could be reached", "refused", "unreachable"]) {
        return failed("no server answers".to_owned());
    }
    if says(&["NXDOMAIN", "No answer", "can't resolve", "can't find"]) {
        return DnsAnswer { code: DnsCode::NoName, ..DnsAnswer::default() };
    }
    failed(format!("nslookup ended with {}", ran.code))
}

/// Asks inside a container for names, given without and with their domain. What is not possible is said instead.
pub(super) async fn ask(
    connection: &Connection,
    place: (&str, &str, &str),
    names: &[(String, String)],
) -> Result<DnsServer, NotRead> {
    let file = run(connection, place, &["cat", "/etc/resolv.conf"]).await?;
    let (search, ndots) = if file.code == 0 { search_path(&file.printed) } else { (Vec::new(), 1) };
    let mut server = DnsServer {
        namespace: place.0.to_owned(),
        pod: place.1.to_owned(),
        command: "getent".to_owned(),
        ready: true,
        ndots: (file.code == 0).then_some(ndots),
        search,
        ..DnsServer::default()
    };
    for some in names.chunks(AT_ONCE) {
        if server.command == "getent" {
            let asked = some.iter().map(|(short, _)| async move {
                let ran = run(connection, place, &["getent", "ahosts", short]).await?;
                // The one of musl knows no more.
                if ran.code == 1 {
                    run(connection, place, &["getent", "hosts", short]).await
                } else {
                    Ok(ran)
                }
            });
            let ran: Vec<Ran> = join_all(asked).await.into_iter().collect::<Result<_, NotRead>>()?;
            if ran.iter().all(|ran| !ran.is_missing()) {
                server
                    .answers
                    .extend(some.iter().zip(&ran).map(|((_, full), ran)| (full.clone(), of_getent(ran))));
                continue;
            }
            "nslookup".clone_into(&mut server.command);
        }
        let asked = some.iter().map(|(short, _)| nslookup(connection, place, short, &server));
        let found: Vec<DnsAnswer> = join_all(asked).await.into_iter().collect::<Result<_, NotRead>>()?;
        server.answers.extend(some.iter().map(|(_, full)| full.clone()).zip(found));
    }
    Ok(server)
}

/// `nslookup` of busybox knows no `ndots`: each name that a resolver would ask for is asked for as a whole.
async fn nslookup(
    connection: &Connection,
    place: (&str, &str, &str),
    short: &str,
    server: &DnsServer,
) -> Result<DnsAnswer, NotRead> {
    // As resolvers do, it goes on after a server that refuses, and ends with that if there is no answer.
    let mut result = DnsAnswer { code: DnsCode::NoName, ..DnsAnswer::default() };
    for name in candidates(short, &server.search, server.ndots.unwrap_or(1)) {
        let ran = run(connection, place, &["nslookup", &name]).await?;
        if ran.is_missing() {
            return Err(NotRead::Other("its image has neither getent nor nslookup".to_owned()));
        }
        let answer = of_nslookup(&ran);
        match answer.code {
            DnsCode::Found => return Ok(answer),
            DnsCode::Failed => result = answer,
            DnsCode::NoName | DnsCode::NoAddress => {}
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(code: i32, printed: &str) -> Ran {
        Ran { code, printed: printed.to_owned(), said: String::new() }
    }

    fn addresses(answer: &DnsAnswer) -> Vec<String> {
        answer.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_search_path_is_read_and_walked_as_resolvers_do() {
        let text = "nameserver 10.96.0.10\nsearch old.test\nsearch shop.svc.corp.test svc.corp.test corp.test\noptions ndots:5 timeout:1\n";
        let (search, ndots) = search_path(text);
        assert_eq!((search.len(), ndots), (3, 5));
        assert_eq!(cluster_domain(&search, "shop"), Some("corp.test"));
        assert_eq!(cluster_domain(&search, "other"), None);
        let asked = candidates("web-0.web", &search, ndots);
        assert_eq!((asked[0].as_str(), asked[3].as_str()), ("web-0.web.shop.svc.corp.test.", "web-0.web."));
        assert_eq!(candidates("web-0.web", &search, 1)[0], "web-0.web.");
        assert_eq!(search_path("options ndots:x\nsearch\n\u{1b}[31m"), (vec![], 1));
    }

    #[test]
    fn what_the_programs_print_is_understood() {
        let glibc =
            of_getent(&ran(0, "10.0.0.2     STREAM web-0.web\n10.0.0.2     DGRAM\n10.0.0.1     RAW\n"));
        assert_eq!(addresses(&glibc), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(of_getent(&ran(2, "")).code, DnsCode::NoName);
        assert_eq!(of_getent(&ran(137, "")).code, DnsCode::Failed);
        let busybox = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\nName:\tweb-0.web.shop.svc.corp.test\nAddress: 10.0.0.1\n\n*** Can't find web-0.web.shop.svc.corp.test: No answer\n";
        assert_eq!(addresses(&of_nslookup(&ran(1, busybox))), ["10.0.0.1"]);
        let old = "Server:    10.96.0.10\nAddress 1: 10.96.0.10 kube-dns\n\nName:      web-0.web\nAddress 1: 10.0.0.1 web-0\n";
        assert_eq!(addresses(&of_nslookup(&ran(0, old))), ["10.0.0.1"]);
        let none =
            "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n** server can't find web-9.web.: NXDOMAIN\n";
        assert_eq!(of_nslookup(&ran(1, none)).code, DnsCode::NoName);
        let dead = ";; connection timed out; no servers could be reached\n";
        assert_eq!(of_nslookup(&ran(1, dead)).code, DnsCode::Failed);
    }
}

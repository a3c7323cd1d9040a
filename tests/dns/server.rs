//! A real CoreDNS that serves the test cluster, behind DNS pods whose port 53 leads to it.

#[path = "asked.rs"]
pub mod asked;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::support::{Cluster, PATIENCE, Run, wait};

/// There is one DNS in a cluster.
static ONE: Mutex<()> = Mutex::new(());

/// CoreDNS with its pods, while the value lives.
pub struct Dns {
    cluster: &'static Cluster,
    zone: String,
    /// Of the plugin for Kubernetes.
    options: Vec<String>,
    cache: String,
    port: u16,
    child: Option<Child>,
    _one: MutexGuard<'static, ()>,
}

impl Dns {
    /// Serves this zone, with the lines of the plugin `cache`.
    pub fn start(cluster: &'static Cluster, zone: &str, ttl: u32, cache: &str) -> Option<Dns> {
        cluster.plane.binary.as_ref()?;
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (options, cache) = (vec![format!("ttl {ttl}")], cache.to_owned());
        let mut dns = Dns { cluster, zone: zone.to_owned(), options, cache, port, child: None, _one: one };
        dns.restart();
        cluster.apply(&format!(
            r"
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: 10.96.0.10
  selector: {{k8s-app: kube-dns}}
  ports:
  - {{name: dns, port: 53, protocol: UDP}}
  - {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: coredns, namespace: kube-system}}
spec:
  replicas: 2
  selector: {{matchLabels: {{k8s-app: kube-dns}}}}
  template:
    metadata:
      labels: {{k8s-app: kube-dns}}
      annotations: {{fake.test/forward: '53={port}'}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: coredns, image: 'example.test/coredns:1'}}]
"
        ));
        dns.configure(&dns.corefile(""));
        dns.wait_pods();
        Some(dns)
    }

    /// What stands in the ConfigMap, and in the file of the process.
    pub fn corefile(&self, kubeconfig: &str) -> String {
        let Dns { zone, port, cache, .. } = self;
        let at = if kubeconfig.is_empty() { ".:53".to_owned() } else { format!(".:{port}") };
        let options: String = self.options.iter().map(|option| format!("       {option}\n")).collect();
        format!(
            "{at} {{\n    errors\n    kubernetes {zone} in-addr.arpa ip6.arpa {{\n{options}{kubeconfig}    }}\n{cache}}}\n"
        )
    }

    /// Serves with these options of the plugin for Kubernetes, and without a cache.
    pub fn use_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
        self.cache.clear();
        self.configure(&self.corefile(""));
        self.restart();
    }

    /// Serves with the options that stand in the ConfigMap now.
    pub fn use_config_map(&mut self) {
        let text = self.kubectl(&["get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}"]).ok();
        let (_, rest) = text.split_once("ip6.arpa {\n").unwrap();
        let (options, _) = rest.split_once("    }\n").unwrap();
        self.options = options.lines().map(|line| line.trim().to_owned()).collect();
        self.restart();
    }

    /// Writes the ConfigMap.
    pub fn configure(&self, corefile: &str) {
        let map = serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"},
            "data": {"Corefile": corefile},
        });
        self.cluster.apply(&map.to_string());
    }

    /// Ends the process and starts it again, as its pods do when they are deleted.
    pub fn restart(&mut self) {
        self.stop();
        let plane = &self.cluster.plane;
        let file: PathBuf = plane.dir.join(format!("Corefile-{}", self.port));
        let own = format!("       kubeconfig {}\n", plane.kubeconfig.display());
        fs::write(&file, self.corefile(&own)).unwrap();
        let log = fs::File::create(plane.dir.join("coredns.log")).unwrap();
        // It ends with this process, however that ends: the shell holds the other end of its standard input.
        let script = "\"$0\" coredns -conf \"$1\" <&- & pid=$!; read _; kill -9 $pid; wait $pid";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(plane.binary.as_ref().unwrap()).arg(&file);
        let child =
            command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        // Before it has read the cluster it answers with SERVFAIL (2).
        wait("CoreDNS to answer", PATIENCE, || match self.response_code() {
            Ok(0 | 3) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// How it answers for the Service of the API server.
    fn response_code(&self) -> std::io::Result<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in format!("kubernetes.default.svc.{}", self.zone).split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend(label.as_bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        let length = u16::try_from(question.len()).unwrap().to_be_bytes();
        stream.write_all(&[length.as_slice(), &question].concat())?;
        let mut head = [0; 6];
        stream.read_exact(&mut head)?;
        Ok(head[5] & 0xf)
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    /// kubectl for the namespace of the DNS pods.
    pub fn kubectl(&self, args: &[&str]) -> Run {
        self.cluster.kubectl(&[&["--namespace", "kube-system"], args].concat())
    }

    /// Waits until there are two DNS pods to which clients are sent, and gives their names.
    pub fn wait_pods(&self) -> Vec<String> {
        self.kubectl(&["rollout", "status", "deployment/coredns", "--timeout=90s"]).ok();
        wait("two DNS pods", PATIENCE, || {
            let slices =
                "jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.targetRef.name} {end}";
            let label = "kubernetes.io/service-name=kube-dns";
            let ready = self.kubectl(&["get", "endpointslices", "-l", label, "-o", slices]).ok();
            let there = self.kubectl(&["get", "pods", "-l", "k8s-app=kube-dns", "-o", "name"]).ok();
            let mut names: Vec<String> = ready.split_whitespace().map(str::to_owned).collect();
            names.sort();
            if names.len() == 2 && there.lines().count() == 2 { Ok(names) } else { Err(ready + &there) }
        })
    }

    /// Where UDP leads to CoreDNS as well, at port 53 of an address of this machine: for programs that know no other port.
    /// `None` where that port cannot be had.
    pub fn relay(&self) -> Option<Relay> {
        let address = "127.0.0.153";
        let socket = UdpSocket::bind((address, 53)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (stop, port) = (Arc::new(AtomicBool::new(false)), self.port);
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !ends.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut bytes) else { continue };
                let server = UdpSocket::bind("127.0.0.1:0").unwrap();
                server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let _ = server.send_to(&bytes[..length], ("127.0.0.1", port));
                if let Ok(length) = server.recv(&mut bytes) {
                    let _ = socket.send_to(&bytes[..length], client);
                }
            }
        });
        Some(Relay { address, stop, thread: Some(thread) })
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop();
        let all = ["deployment/coredns", "service/kube-dns", "configmap/coredns"];
        let mut command = self.cluster.plane.kubectl();
        let _ = command
            .args(["-n", "kube-system", "delete", "--wait=false", "--ignore-not-found"])
            .args(all)
            .output();
    }
}

/// A DNS server that is none, at a port of this machine: it answers each question with these bytes behind the first two of it,
/// or holds the connection open where there are none.
pub fn stand_in(answer: Option<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with this process.
    thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let Some(answer) = answer.clone() else {
                held.push(stream);
                continue;
            };
            thread::spawn(move || {
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                    if stream.read_exact(&mut question).is_err() {
                        return;
                    }
                    let reply = [&question[..2], &answer].concat();
                    let length = u16::try_from(reply.len()).unwrap().to_be_bytes();
                    if stream.write_all(&[length.as_slice(), &reply].concat()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// See [`Dns::relay`].
pub struct Relay {
    /// The address.
    pub address: &'static str,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

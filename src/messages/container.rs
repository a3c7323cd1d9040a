//! Why a kubelet or a container runtime refuses to create a container.

/// What of the template forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// `runAsNonRoot`, and the image runs as root (`kuberuntime/security_context_others.go:verifyRunAsNonRoot`).
    ImageIsRoot,
    /// `runAsNonRoot`, and the image names its user by a word, which may be that of root (the same function).
    UserIsName(&'a str),
    /// `runAsNonRoot`, and `runAsUser: 0` (the same function).
    UserIsRoot,
    /// Neither the image nor the template has a command (containerd, `internal/cri/server: container_create.go`, and runc).
    NoCommand,
}

impl<'a> Refusal<'a> {
    /// Reads the words; `None` where they say nothing that is known here.
    pub fn parse(said: &'a str) -> Option<Refusal<'a>> {
        if said.contains("runAsNonRoot and image will run as root") {
            return Some(Refusal::ImageIsRoot);
        }
        if let Some((_, rest)) = said.split_once("runAsNonRoot and image has non-numeric user (") {
            let user = rest.split_once(')').map_or("", |(user, _)| user);
            let is_name = !user.is_empty() && user.len() <= 64 && !user.contains(char::is_whitespace);
            return is_name.then_some(Refusal::UserIsName(user));
        }
        if said.contains("runAsUser breaks non-root policy") {
            return Some(Refusal::UserIsRoot);
        }
        said.contains("no command specified").then_some(Refusal::NoCommand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_told_by_its_words() {
        for (said, refusal) in [
            (
                "container has runAsNonRoot and image will run as root (pod: \"db-0_shop(1)\", container: db)",
                Some(Refusal::ImageIsRoot),
            ),
            (
                "container has runAsNonRoot and image has non-numeric user (postgres), cannot verify user is non-root",
                Some(Refusal::UserIsName("postgres")),
            ),
            ("container has runAsNonRoot and image has non-numeric user (a b), cannot", None),
            (
                "container's runAsUser breaks non-root policy (pod: \"db-0_shop(1)\", container: db)",
                Some(Refusal::UserIsRoot),
            ),
            (
                "failed to generate container \"1\" spec: failed to generate spec: no command specified",
                Some(Refusal::NoCommand),
            ),
            ("failed to create subPath directory for volumeMount \"data\"", None),
        ] {
            assert_eq!(Refusal::parse(said), refusal, "{said}");
        }
    }
}

# deploy/release fills in the version and the sums.
class KubectlSts < Formula
  desc "Kubectl plugin that finds out why a StatefulSet is stuck, and fixes it"
  homepage "@REPOSITORY@"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/kubectl-sts-v@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256 kubectl-sts-v@VERSION@-aarch64-apple-darwin.tar.gz@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/kubectl-sts-v@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256 kubectl-sts-v@VERSION@-x86_64-apple-darwin.tar.gz@"
    end
  end

  on_linux do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/kubectl-sts-v@VERSION@-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256 kubectl-sts-v@VERSION@-aarch64-unknown-linux-musl.tar.gz@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/kubectl-sts-v@VERSION@-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256 kubectl-sts-v@VERSION@-x86_64-unknown-linux-musl.tar.gz@"
    end
  end

  def install
    bin.install "kubectl-sts"
    bin.install_symlink "kubectl-sts" => "kubectl_complete-sts"
    bash_completion.install "completions/kubectl-sts.bash" => "kubectl-sts"
    zsh_completion.install "completions/kubectl-sts.zsh" => "_kubectl-sts"
    fish_completion.install "completions/kubectl-sts.fish"
    man1.install Dir["man/*.1"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/kubectl-sts --version")
    assert_match "rollback-trap", shell_output("#{bin}/kubectl-sts explain rollback-trap")
  end
end

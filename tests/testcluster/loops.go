package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// loop is a container that ends and is restarted, over and over.
type loop struct {
	up             time.Duration // how long each run lasts; 0 if it ends before a kubelet sees it run
	ready, started bool          // while it runs
	code           int32
	reason         string
	probe          mode          // the probe that kills it; empty if it ends on its own
	down           time.Duration // how long it waits in back-off, but for the first restart; 0 for as long as a kubelet makes it wait
}

// loopOf tells how a container loops in one of the modes that do.
func (v *view) loopOf(c corev1.Container, wanted mode) loop {
	b := v.behaviour
	regular := !isSidecar(c) && slices.ContainsFunc(v.pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == c.Name })
	l := loop{code: 1, ready: c.ReadinessProbe == nil && !regular, started: true}
	up := time.Duration(0)
	switch wanted {
	case modeFlapping:
		up, l.ready, l.down = 3*time.Second, true, 4*time.Second
	case modeLiveness:
		up, l.ready, l.code, l.probe = 3*time.Second, true, 0, wanted
	case modeStartup:
		up, l.ready, l.started, l.code, l.probe = 3*time.Second, false, false, 0, wanted
	default:
	}
	if probeOf(c, wanted) == nil {
		l.probe = "" // this container has no such probe, and just ends
	}
	l.up, l.down, l.code = ptr.Deref(b.up, up), ptr.Deref(b.down, l.down), ptr.Deref(b.exitCode, l.code)
	l.reason = "Error"
	if l.code == 0 {
		l.reason = "Completed"
	}
	if wanted == modeOOM {
		l.code, l.reason = 137, "OOMKilled"
	}
	return l
}

// looping is one step around the loop. The states are those of a kubelet: running, terminated for a moment, waiting in
// back-off, running; the first restart comes without a back-off.
func (v *view) looping(s corev1.ContainerStatus, c corev1.Container, old corev1.ContainerStatus, field string, l loop) corev1.ContainerStatus {
	switch {
	case old.State.Running != nil:
		return v.alive(v.begun(s, c, old, field), c, field, l)
	case old.State.Terminated != nil:
		ended := old.State.Terminated
		if restarts := v.pod.Spec.RestartPolicy; restarts == corev1.RestartPolicyNever || restarts == corev1.RestartPolicyOnFailure && ended.ExitCode == 0 {
			return old
		}
		if left := ended.FinishedAt.Add(v.momentOf(old.RestartCount, v.pauseOf(old, l))).Sub(v.now); left > 0 && l.probe == "" {
			v.again(left)
			return old
		}
		if waits, pause := v.backsOff(old, l); waits {
			s.LastTerminationState = old.State
			s.ImageID, s.ContainerID = old.ImageID, old.ContainerID
			return v.backingOff(s, c, field, ended.FinishedAt.Add(pause).Sub(v.now), pause)
		}
	case old.State.Waiting != nil && old.State.Waiting.Reason == "CrashLoopBackOff" && old.LastTerminationState.Terminated != nil:
		pause := v.pauseOf(old, l)
		if left := old.LastTerminationState.Terminated.FinishedAt.Add(pause).Sub(v.now); left > 0 {
			s.ImageID, s.ContainerID = old.ImageID, old.ContainerID
			return v.backingOff(s, c, field, left, pause)
		}
	}
	s = v.restarted(v.begun(s, c, old, field), c, old)
	return v.alive(s, c, field, l)
}

// restarted makes the first restart count as many times as the annotation asks for.
func (v *view) restarted(s corev1.ContainerStatus, c corev1.Container, old corev1.ContainerStatus) corev1.ContainerStatus {
	if s.RestartCount > old.RestartCount && s.RestartCount < v.behaviour.restarts {
		s.RestartCount = v.behaviour.restarts
		s.ContainerID = v.containerID(c, s.RestartCount)
	}
	return s
}

// alive is a container that runs, or one that ends at this moment.
func (v *view) alive(s corev1.ContainerStatus, c corev1.Container, field string, l loop) corev1.ContainerStatus {
	began := s.State.Running.StartedAt
	ran := v.now.Sub(began.Time)
	if l.probe != "" {
		v.probeFailed(s.ContainerID, c, field, l, ran)
	}
	if ran < l.up {
		v.again(l.up - ran)
		warm := v.since >= v.behaviour.readyDelay
		s.Started = ptr.To(l.started && (c.StartupProbe == nil || warm))
		s.Ready = l.ready && warm && *s.Started
		if !s.Ready && *s.Started && c.ReadinessProbe != nil {
			v.every(max(time.Duration(c.ReadinessProbe.PeriodSeconds)*time.Second, time.Second), field, corev1.EventTypeWarning,
				"Unhealthy", "Readiness probe failed: "+probeOutput(c.ReadinessProbe))
		}
		return s
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: l.code, Reason: l.reason, Message: v.terminationMessage(c, l), StartedAt: began, FinishedAt: v.stamp, ContainerID: s.ContainerID,
	}}
	if restarts := v.pod.Spec.RestartPolicy; l.probe != "" && restarts == corev1.RestartPolicyAlways {
		// The kubelet kills it and decides on its restart in one look, so that it is never shown as terminated.
		v.happened(field, corev1.EventTypeNormal, "Killing", fmt.Sprintf("Container %s failed %s probe, will be restarted", c.Name, l.probe))
		old := s
		old.State, old.Ready, old.Started = ended, false, ptr.To(false)
		return v.looping(corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Started: ptr.To(false), RestartCount: s.RestartCount, LastTerminationState: s.LastTerminationState,
		}, c, old, field, l)
	}
	if v.behaviour.lingers && s.RestartCount > 0 {
		v.happened(field, corev1.EventTypeWarning, "BackOff", v.backOff(c))
	}
	s.State = ended
	v.again(v.momentOf(s.RestartCount, v.pauseOf(s, l)))
	return s
}

// shown is how long CrashLoopBackOff is shown when the state before it lasts for the whole back-off.
const shown = time.Second

// momentOf is how long the state lasts that comes before this back-off: not before the first restart, which comes at once.
//
// A kubelet shows the reason why a container waits at its next look at the pod. Since 1.33 or so it does not look before the
// back-off is over (pod_workers.go, completeWork), or after its syncFrequency, a minute.
func (v *view) momentOf(restarts int32, pause time.Duration) time.Duration {
	switch {
	case restarts == 0:
		return min(v.behaviour.moment, time.Second/2)
	case v.behaviour.lingers:
		return min(max(pause-shown, 0), time.Minute)
	default:
		return v.behaviour.moment
	}
}

// probeFailed writes those failures of the probe that are due; the last of them is the reason for the kill.
func (v *view) probeFailed(id string, c corev1.Container, field string, l loop, ran time.Duration) {
	probe := probeOf(c, l.probe)
	threshold := max(int(probe.FailureThreshold), 1)
	period := l.up / time.Duration(threshold)
	due := threshold
	if period > 0 {
		due = min(int(ran/period), threshold)
	}
	v.node.mutex.Lock()
	written := v.memory.failures[id]
	v.memory.failures[id] = due
	v.node.mutex.Unlock()
	title, words := "Liveness", v.behaviour.message
	if l.probe == modeStartup {
		title = "Startup"
	}
	if words == "" && !v.behaviour.wordless {
		words = probeOutput(probe)
	}
	for ; written < due; written++ {
		v.happened(field, corev1.EventTypeWarning, "Unhealthy", title+" probe failed: "+words)
	}
	if due < threshold {
		v.again(time.Duration(due+1)*period - ran)
	}
}

// backsOff tells whether a container that has ended waits before its restart, and how long it does then. A kubelet
// looks at the newest run that had ended when it decided (kuberuntime_manager.go, doBackOff). For a container that it
// kills itself that is the run before: a liveness probe that needs longer than the back-off restarts it at once.
func (v *view) backsOff(old corev1.ContainerStatus, l loop) (bool, time.Duration) {
	pause := v.pauseOf(old, l)
	from := old.State.Terminated.FinishedAt
	if before := old.LastTerminationState.Terminated; l.probe != "" && before != nil && l.down == 0 {
		from = before.FinishedAt
	}
	return old.RestartCount > 0 && v.now.Before(from.Add(pause)), pause
}

// pauseOf is how long a container that has ended waits for its restart.
func (v *view) pauseOf(old corev1.ContainerStatus, l loop) time.Duration {
	switch {
	case l.down > 0:
		return v.behaviour.moment + l.down
	case l.probe != "":
		return v.pause(old.RestartCount - 1) // the first kill finds no run that had ended, and does not count
	default:
		return v.pause(old.RestartCount)
	}
}

// pause is how long a kubelet waits after so many attempts, or what the annotations ask for.
func (v *view) pause(attempts int32) time.Duration {
	if v.behaviour.down != nil {
		return v.behaviour.moment + *v.behaviour.down
	}
	if attempts <= 0 {
		return 0
	}
	return min(10*time.Second<<min(attempts-1, 6), 5*time.Minute)
}

// backingOff is a container that waits for its restart.
func (v *view) backingOff(s corev1.ContainerStatus, c corev1.Container, field string, left, pause time.Duration) corev1.ContainerStatus {
	v.again(left)
	if !v.behaviour.lingers { // else it was said when the container ended
		v.lasts(field, corev1.EventTypeWarning, "BackOff", v.backOff(c))
	}
	s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: fmt.Sprintf(
		"back-off %s restarting failed container=%s pod=%s", pause, c.Name, v.formatted())}}
	return s
}

// backOff is the message of the event of a back-off.
func (v *view) backOff(c corev1.Container) string {
	return fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.Name, v.formatted())
}

func (v *view) terminationMessage(c corev1.Container, l loop) string {
	switch {
	case l.probe == "" && v.behaviour.message != "":
		return v.behaviour.message
	case l.code != 0 && c.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError:
		return v.behaviour.log
	default:
		return ""
	}
}

// startFailure is why a container is never seen to run, although it is made again and again.
type startFailure struct {
	reason, message string // while it waits
	last            corev1.ContainerStateTerminated
	begins          bool
}

// startFailure tells what a kubelet says of a command that does not exist, and of a postStart hook that fails.
func (v *view) startFailure(c corev1.Container, wanted mode) startFailure {
	if wanted == modePostStart {
		command := []string{"false"}
		if c.Lifecycle != nil && c.Lifecycle.PostStart != nil && c.Lifecycle.PostStart.Exec != nil {
			command = c.Lifecycle.PostStart.Exec.Command
		}
		f := startFailure{reason: "PostStartHookError", begins: true, message: fmt.Sprintf(
			"Exec lifecycle hook (%s) for Container %q in Pod %q failed - error: command '%s' exited with 1: , message: %q",
			command, c.Name, v.formatted(), strings.Join(command, " "), v.behaviour.message+"\n")}
		f.last = corev1.ContainerStateTerminated{ExitCode: ptr.Deref(v.behaviour.exitCode, 0), Reason: "Completed", StartedAt: v.stamp}
		if f.last.ExitCode != 0 {
			f.last.Reason = "Error"
		}
		return f
	}
	message := v.behaviour.message
	if message == "" {
		command := slices.Concat(c.Command, c.Args, []string{"postgers"})[0]
		message = fmt.Sprintf("failed to create containerd task: failed to create shim task: OCI runtime create failed: "+
			"runc create failed: unable to start container process: exec: %q: executable file not found in $PATH: unknown", command)
	}
	return startFailure{reason: "RunContainerError", message: message, last: corev1.ContainerStateTerminated{
		ExitCode: 128, Reason: "StartError", Message: message, StartedAt: metav1.Unix(0, 0),
	}}
}

// notStarted is a container that the runtime creates but cannot start, or whose hook fails. It is never shown as running
// or terminated: the kubelet shows the error of its last attempt instead for a moment, and then CrashLoopBackOff
// (kubelet_pods.go, convertToAPIContainerStatuses).
func (v *view) notStarted(s corev1.ContainerStatus, c corev1.Container, old corev1.ContainerStatus, field string, f startFailure) corev1.ContainerStatus {
	if old.State.Running != nil { // the mode began while it ran
		return v.alive(v.begun(s, c, old, field), c, field, loop{code: 1, reason: "Error"})
	}
	if old.State.Terminated != nil {
		s.LastTerminationState = old.State
	}
	last := s.LastTerminationState.Terminated
	if waiting := old.State.Waiting; waiting != nil && last != nil {
		s.ImageID, s.ContainerID = old.ImageID, old.ContainerID
		if left := last.FinishedAt.Add(v.momentOf(old.RestartCount, v.pause(old.RestartCount))).Sub(v.now); waiting.Reason == f.reason && left > 0 {
			v.again(left)
			s.State = old.State
			return s
		}
		pause := v.pause(old.RestartCount)
		if left := last.FinishedAt.Add(pause).Sub(v.now); old.RestartCount > 0 && left > 0 {
			return v.backingOff(s, c, field, left, pause)
		}
	}
	if last != nil {
		s.RestartCount++
	}
	s.ImageID, s.ContainerID = imageID(c), v.containerID(c, s.RestartCount)
	s = v.restarted(s, c, old)
	if f.begins {
		v.started(c, old, field)
		v.happened(field, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
		v.happened(field, corev1.EventTypeNormal, "Killing", "FailedPostStartHook")
	} else {
		v.created(c, old, field)
		v.happened(field, corev1.EventTypeWarning, "Failed", "Error: "+f.message)
	}
	f.last.FinishedAt, f.last.ContainerID = v.stamp, s.ContainerID
	s.LastTerminationState = corev1.ContainerState{Terminated: &f.last}
	s.State.Waiting = &corev1.ContainerStateWaiting{Reason: f.reason, Message: f.message}
	if v.behaviour.lingers && s.RestartCount > 0 {
		v.happened(field, corev1.EventTypeWarning, "BackOff", v.backOff(c))
	}
	v.again(v.momentOf(s.RestartCount, v.pause(s.RestartCount)))
	return s
}

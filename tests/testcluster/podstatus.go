package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// view is one look at a pod: what it asks for, what is stored, and what time it is. The wanted status follows from
// these alone, so that a look at any moment gives the same answer.
type view struct {
	node      *fakeNode
	ctx       context.Context
	pod       *corev1.Pod
	behaviour behaviour
	memory    *memory
	now       time.Time
	stamp     metav1.Time   // now, as precise as the API stores it
	since     time.Duration // since the end of the delay; negative while it lasts
	next      time.Duration // when to look again; 0 for at the next change
	events    []event
}

type event struct {
	field, kind, reason, message string
	repeats                      bool
}

func (e event) key() string { return e.field + e.reason + e.message }

// again asks for another look after so long, at the latest.
func (v *view) again(after time.Duration) {
	if after > 0 && after < never/2 && (v.next == 0 || after < v.next) {
		v.next = after
	}
}

// happened writes an event once; the caller sees to it that it is called on a transition only.
func (v *view) happened(field, kind, reason, message string) {
	v.events = append(v.events, event{field: field, kind: kind, reason: reason, message: message})
}

// lasts writes an event now and again for as long as the fault lasts.
func (v *view) lasts(field, kind, reason, message string) {
	v.every(repeatInterval, field, kind, reason, message)
}

// unready writes the failures of a readiness or startup probe, as often as the probe runs.
func (v *view) unready(field, title string, probe *corev1.Probe) {
	words := v.behaviour.message
	if words == "" && !v.behaviour.wordless {
		words = probeOutput(probe)
	}
	period := max(time.Duration(probe.PeriodSeconds)*time.Second, time.Second)
	v.every(period, field, corev1.EventTypeWarning, "Unhealthy", title+" probe failed: "+words)
}

// every writes an event, and again after each such time.
func (v *view) every(interval time.Duration, field, kind, reason, message string) {
	e := event{field: field, kind: kind, reason: reason, message: message, repeats: true}
	v.node.mutex.Lock()
	last, written := v.memory.repeated[e.key()]
	v.node.mutex.Unlock()
	if !written || v.now.Sub(last) >= interval {
		v.events = append(v.events, e)
		v.again(interval)
	} else {
		v.again(interval - v.now.Sub(last))
	}
}

// status is what the pod shall report now.
func (v *view) status() *corev1.PodStatus {
	status := v.pod.Status.DeepCopy()
	status.ObservedGeneration = v.pod.Generation
	status.HostIP = loopback
	status.HostIPs = []corev1.HostIP{{IP: loopback}}
	if status.StartTime == nil {
		status.StartTime = &v.stamp
	}
	current, held, change := v.behaviour.at(v.since)
	v.again(change)
	switch {
	case v.behaviour.problem != "":
		v.lasts("", corev1.EventTypeWarning, "UnknownFakeMode", v.behaviour.problem)
		return v.notCreated(status, "UnknownFakeMode", v.behaviour.problem)
	case v.since < 0 && !hasStarted(status):
		v.again(-v.since)
		return v.notCreated(status, "", "")
	case current == modeFailed:
		return v.failed(status)
	case current == modeCreating:
		message := v.behaviour.message
		if message == "" {
			message = `MountVolume.SetUp failed for volume "data" : rpc error: code = DeadlineExceeded desc = context deadline exceeded`
		}
		v.lasts("", corev1.EventTypeWarning, "FailedMount", message)
		return v.notCreated(status, "", "")
	case !hasStarted(status):
		if missing := v.missingVolume(); missing != "" {
			v.lasts("", corev1.EventTypeWarning, "FailedMount", missing)
			v.again(recheckInterval)
			return v.notCreated(status, "", "")
		}
	}
	status.PodIP = podIP(v.pod)
	status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	initialized := v.initContainers(status, current, held)
	v.containers(status, initialized, current, held)
	status.Phase = phase(v.pod, status, initialized)
	if current == modeSucceeded && v.behaviour.container == "" && initialized {
		status.Phase = corev1.PodSucceeded // whatever the restart policy says: the annotation asks for it
	}
	v.conditions(status, true)
	return status
}

// notCreated is a pod whose sandbox and volumes are not there yet.
func (v *view) notCreated(status *corev1.PodStatus, reason, message string) *corev1.PodStatus {
	if reason == "" {
		reason = v.firstReason()
	}
	waiting := func(c corev1.Container) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: ptr.To(false), State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
		}}
	}
	status.InitContainerStatuses, status.ContainerStatuses = nil, nil
	for _, c := range v.pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, waiting(c))
	}
	for _, c := range v.pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, waiting(c))
	}
	status.Phase = corev1.PodPending
	v.conditions(status, false)
	return status
}

// firstReason is why a container waits before anything happened.
func (v *view) firstReason() string {
	if len(v.pod.Spec.InitContainers) > 0 {
		return "PodInitializing"
	}
	return "ContainerCreating"
}

// failed is a pod that a kubelet gave up, as at an eviction.
func (v *view) failed(status *corev1.PodStatus) *corev1.PodStatus {
	status.Reason, status.Message = v.behaviour.reason, v.behaviour.message
	if status.Reason == "" {
		status.Reason = "Evicted"
	}
	if status.Message == "" {
		status.Message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
	}
	v.happened("", corev1.EventTypeWarning, status.Reason, status.Message)
	begun := hasStarted(status)
	status.InitContainerStatuses, status.ContainerStatuses = nil, nil
	for _, c := range v.pod.Spec.Containers {
		if begun { // a pod refused before its start has no container statuses, and kubectl shows the reason
			if find(v.pod.Status.ContainerStatuses, c.Name).State.Running != nil {
				v.stopping("spec.containers{"+c.Name+"}", c.Name)
			}
			status.ContainerStatuses = append(status.ContainerStatuses, v.ended(c, v.pod.Status.ContainerStatuses, 137, "Error"))
		}
	}
	status.Phase = corev1.PodFailed
	v.conditions(status, false)
	return status
}

// terminating is a deleted pod within its grace period. Its containers run on and stay as ready as they were until they
// end (kubelet.go, SyncTerminatingPod: readiness probes go on).
func (v *view) terminating() *corev1.PodStatus {
	for _, c := range v.pod.Status.ContainerStatuses {
		if c.State.Running != nil {
			v.stopping("spec.containers{"+c.Name+"}", c.Name)
		}
	}
	return v.pod.Status.DeepCopy()
}

// stopping says once that a container of a deleted pod is told to end.
func (v *view) stopping(field, name string) {
	v.node.mutex.Lock()
	_, said := v.memory.repeated["stopping "+field]
	v.memory.repeated["stopping "+field] = v.now
	v.node.mutex.Unlock()
	if !said {
		v.happened(field, corev1.EventTypeNormal, "Killing", "Stopping container "+name)
	}
}

// terminated is a deleted pod whose containers have ended.
func (v *view) terminated() *corev1.PodStatus {
	status := v.pod.Status.DeepCopy()
	if isOver(status.Phase) || !hasStarted(status) {
		return status
	}
	worst := int32(0)
	end := func(specs []corev1.Container, stored []corev1.ContainerStatus, field string) []corev1.ContainerStatus {
		var ended []corev1.ContainerStatus
		for _, c := range specs {
			old := find(stored, c.Name)
			if old.State.Running != nil {
				v.stopping(field+"{"+c.Name+"}", c.Name)
				old = v.ended(c, stored, 0, "Completed")
			}
			old.Ready, old.Started = false, ptr.To(false)
			if t := old.State.Terminated; t != nil {
				worst = max(worst, t.ExitCode)
			} else {
				worst = max(worst, 1) // it never ran to an end
			}
			ended = append(ended, old)
		}
		return ended
	}
	status.ContainerStatuses = end(v.pod.Spec.Containers, status.ContainerStatuses, "spec.containers")
	status.Phase = corev1.PodSucceeded
	if worst != 0 {
		status.Phase = corev1.PodFailed
	}
	v.conditions(status, false)
	return status
}

// ended is a container that ran and is not restarted.
func (v *view) ended(c corev1.Container, stored []corev1.ContainerStatus, code int32, reason string) corev1.ContainerStatus {
	old := find(stored, c.Name)
	started := v.stamp
	if old.State.Running != nil {
		started = old.State.Running.StartedAt
	}
	return corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: imageID(c), ContainerID: v.containerID(c, old.RestartCount), RestartCount: old.RestartCount,
		LastTerminationState: old.LastTerminationState, Started: ptr.To(false),
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: code, Reason: reason, StartedAt: started, FinishedAt: v.stamp, ContainerID: v.containerID(c, old.RestartCount),
		}},
	}
}

// initContainers fills in the statuses of the init containers, one after the other, and tells whether all are through.
func (v *view) initContainers(status *corev1.PodStatus, current mode, held time.Duration) bool {
	stored := v.pod.Status.InitContainerStatuses
	status.InitContainerStatuses = nil
	through := true
	failing := v.behaviour.container
	for _, c := range v.pod.Spec.InitContainers {
		if failing == "" && !isSidecar(c) {
			failing = c.Name
		}
		wanted := modeSucceeded
		if isSidecar(c) {
			wanted = modeReady
		}
		if current == modeInitFail && c.Name == failing {
			wanted = modeCrashLoop
		} else if c.Name == v.behaviour.container {
			wanted = current
		}
		old := find(stored, c.Name)
		done := old.State.Terminated != nil && old.State.Terminated.ExitCode == 0
		switch {
		case !through:
			status.InitContainerStatuses = append(status.InitContainerStatuses, corev1.ContainerStatus{
				Name: c.Name, Image: c.Image, Started: ptr.To(false),
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
			})
		case done && !isSidecar(c):
			status.InitContainerStatuses = append(status.InitContainerStatuses, old)
		default:
			now := v.container(c, old, "spec.initContainers{"+c.Name+"}", wanted, held)
			if t := now.State.Terminated; t != nil && t.ExitCode == 0 {
				now.Ready = true
			}
			status.InitContainerStatuses = append(status.InitContainerStatuses, now)
			through = now.State.Terminated != nil && now.State.Terminated.ExitCode == 0 ||
				isSidecar(c) && old.State.Running != nil && now.State.Running != nil && ptr.Deref(now.Started, false)
		}
	}
	return through
}

func (v *view) containers(status *corev1.PodStatus, initialized bool, current mode, held time.Duration) {
	status.ContainerStatuses = nil
	for _, c := range v.pod.Spec.Containers {
		if !initialized && !hasStarted(&corev1.PodStatus{ContainerStatuses: v.pod.Status.ContainerStatuses}) {
			status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
				Name: c.Name, Image: c.Image, Started: ptr.To(false),
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
			})
			continue
		}
		wanted := modeReady
		if (v.behaviour.container == "" || v.behaviour.container == c.Name) && current != modeInitFail {
			wanted = current
		}
		status.ContainerStatuses = append(status.ContainerStatuses,
			v.container(c, find(v.pod.Status.ContainerStatuses, c.Name), "spec.containers{"+c.Name+"}", wanted, held))
	}
}

// container is one step of a container's life: from what is stored to what is wanted.
func (v *view) container(c corev1.Container, old corev1.ContainerStatus, field string, wanted mode, held time.Duration) corev1.ContainerStatus {
	s := corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, Started: ptr.To(false), RestartCount: old.RestartCount, LastTerminationState: old.LastTerminationState,
	}
	message := v.behaviour.message
	if old.State.Running == nil {
		if reason, kind, refusal := refused(c); refusal != "" {
			v.lasts(field, corev1.EventTypeWarning, kind, refusal)
			v.lasts(field, corev1.EventTypeWarning, "Failed", "Error: "+reason)
			s.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: refusal}
			return s
		}
		if !pullable(c.Image) {
			if wanted != modeErrImagePull {
				wanted = modeImagePull
			}
		} else if wanted != modeImagePull && wanted != modeErrImagePull {
			if missing := v.missingConfig(c); missing != "" {
				wanted, message = modeConfigMissing, missing
				v.again(recheckInterval)
			}
		}
	}
	switch wanted {
	case modeCrashLoop, modeOOM, modeFlapping, modeLiveness, modeStartup:
		return v.looping(s, c, old, field, v.loopOf(c, wanted))
	case modeStartError, modePostStart:
		return v.notStarted(s, c, old, field, v.startFailure(c, wanted))
	case modeImagePull, modeErrImagePull:
		return v.notPulled(s, c, old, field, wanted, held)
	case modeConfigMissing:
		if message == "" {
			message = fmt.Sprintf("configmap %q not found", c.Name+"-config")
		}
		// At each attempt; the image is there from the second on.
		if isPresent(c.Image) || old.State.Waiting != nil && old.State.Waiting.Reason == "CreateContainerConfigError" {
			v.lasts(field, corev1.EventTypeNormal, "Pulled", alreadyPresent(c))
		} else {
			v.pulled(c, old, field)
		}
		v.lasts(field, corev1.EventTypeWarning, "Failed", "Error: "+message)
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: message}
		return s
	case modeSucceeded:
		if old.State.Running == nil {
			v.started(c, old, field)
		}
		return v.ended(c, []corev1.ContainerStatus{old}, 0, "Completed")
	default:
		return v.running(s, c, old, field, wanted == modeReady)
	}
}

// begun is a container that runs, started now if it did not before; whether it is ready is for others to say.
func (v *view) begun(s corev1.ContainerStatus, c corev1.Container, old corev1.ContainerStatus, field string) corev1.ContainerStatus {
	s.State.Running = old.State.Running
	if s.State.Running == nil {
		if last := old.State.Terminated; last != nil {
			s.LastTerminationState = old.State
		}
		if s.LastTerminationState.Terminated != nil {
			s.RestartCount++
		}
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: v.stamp}
		v.started(c, old, field)
	}
	s.ImageID, s.ContainerID = imageID(c), v.containerID(c, s.RestartCount)
	return s
}

// running is a container that runs and is ready when its delay is over.
func (v *view) running(s corev1.ContainerStatus, c corev1.Container, old corev1.ContainerStatus, field string, ready bool) corev1.ContainerStatus {
	s = v.begun(s, c, old, field)
	warm := v.since >= v.behaviour.readyDelay
	if !warm {
		v.again(v.behaviour.readyDelay - v.since)
	}
	s.Started = ptr.To(c.StartupProbe == nil || warm)
	s.Ready = ready && warm
	if !s.Ready {
		switch {
		case !*s.Started:
			v.unready(field, "Startup", c.StartupProbe)
		case c.ReadinessProbe != nil:
			v.unready(field, "Readiness", c.ReadinessProbe)
		}
	}
	return s
}

func probeOutput(p *corev1.Probe) string {
	switch {
	case p.HTTPGet != nil:
		return "HTTP probe failed with statuscode: 503"
	case p.TCPSocket != nil:
		return "dial tcp: connect: connection refused"
	default:
		return "command failed"
	}
}

// conditions replaces the conditions a kubelet owns and keeps all others; a condition that keeps its status keeps its
// time, on which minReadySeconds depends.
func (v *view) conditions(status *corev1.PodStatus, sandbox bool) {
	no := func(reason, message string) corev1.PodCondition {
		return corev1.PodCondition{Status: corev1.ConditionFalse, Reason: reason, Message: message}
	}
	yes := corev1.PodCondition{Status: corev1.ConditionTrue}
	wanted := map[corev1.PodConditionType]corev1.PodCondition{
		corev1.PodReadyToStartContainers: yes, corev1.PodInitialized: yes, corev1.ContainersReady: yes, corev1.PodReady: yes,
	}
	if !sandbox {
		wanted[corev1.PodReadyToStartContainers] = no("", "")
	}
	var incomplete, unready []string
	for _, c := range v.pod.Spec.InitContainers {
		s := find(status.InitContainerStatuses, c.Name)
		if isSidecar(c) {
			if !ptr.Deref(s.Started, false) {
				incomplete = append(incomplete, c.Name)
			}
			if !s.Ready {
				unready = append(unready, c.Name)
			}
		} else if s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
			incomplete = append(incomplete, c.Name)
		}
	}
	for _, c := range v.pod.Spec.Containers {
		if !find(status.ContainerStatuses, c.Name).Ready {
			unready = append(unready, c.Name)
		}
	}
	begun := hasStarted(&corev1.PodStatus{ContainerStatuses: status.ContainerStatuses})
	if len(incomplete) > 0 && !begun {
		wanted[corev1.PodInitialized] = no("ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: %s", incomplete))
	}
	switch {
	case status.Phase == corev1.PodSucceeded:
		wanted[corev1.PodInitialized] = corev1.PodCondition{Status: corev1.ConditionTrue, Reason: "PodCompleted"}
		wanted[corev1.ContainersReady] = no("PodCompleted", "")
	case status.Phase == corev1.PodFailed:
		wanted[corev1.ContainersReady] = no("PodFailed", "")
	case len(unready) > 0:
		wanted[corev1.ContainersReady] = no("ContainersNotReady", fmt.Sprintf("containers with unready status: %s", unready))
	}
	wanted[corev1.PodReady] = wanted[corev1.ContainersReady]
	if wanted[corev1.PodReady].Status == corev1.ConditionTrue {
		if message := unmetGates(v.pod); message != "" {
			wanted[corev1.PodReady] = no("ReadinessGatesNotReady", message)
		}
	}
	if !slices.ContainsFunc(status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled }) {
		wanted[corev1.PodScheduled] = yes // a pod that names its node never met the scheduler
	}
	for _, kind := range []corev1.PodConditionType{
		corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled,
	} {
		condition, ours := wanted[kind]
		if !ours {
			continue
		}
		condition.Type, condition.LastTransitionTime, condition.ObservedGeneration = kind, v.stamp, v.pod.Generation
		at := slices.IndexFunc(status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
		if at < 0 {
			status.Conditions = append(status.Conditions, condition)
			continue
		}
		if old := status.Conditions[at]; old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions[at] = condition
	}
}

// unmetGates says which readiness gates are not met, in kubelet's words.
func unmetGates(pod *corev1.Pod) string {
	var unmet []string
	for _, gate := range pod.Spec.ReadinessGates {
		at := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == gate.ConditionType })
		if at < 0 {
			unmet = append(unmet, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		} else if pod.Status.Conditions[at].Status != corev1.ConditionTrue {
			unmet = append(unmet, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, pod.Status.Conditions[at].Status))
		}
	}
	return strings.Join(unmet, ", ")
}

// phase follows from the containers, by kubelet's rules.
func phase(pod *corev1.Pod, status *corev1.PodStatus, initialized bool) corev1.PodPhase {
	never := pod.Spec.RestartPolicy == corev1.RestartPolicyNever
	if never && slices.ContainsFunc(status.InitContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Terminated != nil && s.State.Terminated.ExitCode != 0
	}) {
		return corev1.PodFailed
	}
	running, stopped, succeeded := 0, 0, 0
	for _, s := range status.ContainerStatuses {
		switch {
		case s.State.Running != nil:
			running++
		case s.State.Terminated != nil:
			stopped++
			if s.State.Terminated.ExitCode == 0 {
				succeeded++
			}
		case s.LastTerminationState.Terminated != nil:
			stopped++
		default:
			return corev1.PodPending
		}
	}
	begun := hasStarted(&corev1.PodStatus{ContainerStatuses: pod.Status.ContainerStatuses})
	switch {
	case !initialized && !begun:
		return corev1.PodPending
	case running > 0 || pod.Spec.RestartPolicy == corev1.RestartPolicyAlways:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	case never:
		return corev1.PodFailed
	default:
		return corev1.PodRunning
	}
}

// hasStarted tells whether any container of the pod ever ran.
func hasStarted(status *corev1.PodStatus) bool {
	return slices.ContainsFunc(slices.Concat(status.InitContainerStatuses, status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
	})
}

func find(statuses []corev1.ContainerStatus, name string) corev1.ContainerStatus {
	for _, s := range statuses {
		if s.Name == name {
			return s
		}
	}
	return corev1.ContainerStatus{Name: name}
}

// formatted names a pod as kubelet's messages do.
func (v *view) formatted() string {
	return fmt.Sprintf("%s_%s(%s)", v.pod.Name, v.pod.Namespace, v.pod.UID)
}

func (v *view) containerID(c corev1.Container, restarts int32) string {
	return fmt.Sprintf("containerd://%x", sha256.Sum256(fmt.Appendf(nil, "%s %s %d", v.pod.UID, c.Name, restarts)))
}

func imageID(c corev1.Container) string { return "fake://" + c.Image }

// podIP is not loopback: the validation of EndpointSlices refuses that.
func podIP(pod *corev1.Pod) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(pod.UID))
	sum := h.Sum32()
	return fmt.Sprintf("10.244.%d.%d", sum>>8&0xff, sum%254+1)
}

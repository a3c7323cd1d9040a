package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

const annotationPrefix = "fake.test/"

// mode is what a pod does; the README has the table.
type mode string

const (
	modeReady         mode = "ready"
	modeUnready       mode = "unready"
	modeCrashLoop     mode = "crashloop"
	modeFlapping      mode = "flapping"
	modeOOM           mode = "oom"
	modeLiveness      mode = "liveness"
	modeStartup       mode = "startup"
	modeStartError    mode = "starterror"
	modePostStart     mode = "poststart"
	modeImagePull     mode = "imagepull"
	modeErrImagePull  mode = "errimagepull"
	modeConfigMissing mode = "configmissing"
	modeCreating      mode = "creating"
	modeInitFail      mode = "init-fail"
	modeSucceeded     mode = "succeeded"
	modeFailed        mode = "failed"
)

var modes = []mode{
	modeReady, modeUnready, modeCrashLoop, modeFlapping, modeOOM, modeLiveness, modeStartup, modeStartError, modePostStart,
	modeImagePull, modeErrImagePull, modeConfigMissing, modeCreating, modeInitFail, modeSucceeded, modeFailed,
}

// never is a duration that does not end in any test run.
const never = 100 * 365 * 24 * time.Hour

// behaviour is what the annotations of a pod ask for.
type behaviour struct {
	mode       mode
	container  string // the container the mode is about; empty for all
	delay      time.Duration
	readyDelay time.Duration
	then       mode
	thenAfter  time.Duration
	up, down   *time.Duration // how long a container that keeps ending runs, and waits; by its mode if not given
	moment     time.Duration  // how long the states between two others last
	lingers    bool           // these states last for the whole back-off, as with a kubelet of 1.37 that has its own settings
	restarts   int32
	exitCode   *int32
	eventBurst int
	log        string
	message    string
	wordless   bool               // message is there, and empty: a probe that prints nothing
	needs      int32              // seconds that a probe has to allow, so that it kills nothing
	memory     *resource.Quantity // what a container needs in mode oom: with a limit as large, it runs
	reason     string
	linger     time.Duration
	exec       *string // fixed output of every exec, instead of a command that runs
	execCode   int
	forward    map[int32]int32
	problem    string // why the annotations make no sense; the pod then says so and does not start
}

var ordinalSuffix = regexp.MustCompile(`-(\d+)$`)

// behaviourOf reads the annotations. KEY-N, with N the ordinal in the pod's name, wins over KEY. A test with a typing
// error must not pass by accident, so whatever is not understood becomes the pod's problem.
func behaviourOf(pod *corev1.Pod) behaviour {
	b := behaviour{mode: modeReady, moment: 2 * time.Second, restarts: 1}
	values := map[string]string{}
	ordinal := ordinalSuffix.FindString(pod.Name)
	var keys []string
	for key := range pod.Annotations {
		if name, ours := strings.CutPrefix(key, annotationPrefix); ours {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys) // KEY comes before KEY-N
	for _, name := range keys {
		value := pod.Annotations[annotationPrefix+name]
		if suffix := ordinalSuffix.FindString(name); suffix != "" {
			if suffix == ordinal {
				values[strings.TrimSuffix(name, suffix)] = value
			}
			continue
		}
		values[name] = value
	}
	complain := func(name, value string, err any) {
		b.problem = fmt.Sprintf("annotation %s%s: %q: %v", annotationPrefix, name, value, err)
	}
	duration := func(name, value string) time.Duration {
		if value == "never" {
			return never
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			complain(name, value, err)
		}
		return d
	}
	number := func(name, value string) int32 {
		i, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			complain(name, value, err)
		}
		return int32(i)
	}
	knownMode := func(name, value string) mode {
		if !slices.Contains(modes, mode(value)) {
			complain(name, value, "no such mode")
		}
		return mode(value)
	}
	for name, value := range values {
		switch name {
		case "mode":
			b.mode = knownMode(name, value)
		case "then":
			b.then = knownMode(name, value)
		case "container":
			b.container = value
			if !slices.ContainsFunc(slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers), func(c corev1.Container) bool { return c.Name == value }) {
				complain(name, value, "no such container")
			}
		case "delay":
			b.delay = duration(name, value)
		case "ready-delay":
			b.readyDelay = duration(name, value)
		case "then-after":
			b.thenAfter = duration(name, value)
		case "up":
			b.up = ptr.To(duration(name, value))
		case "down":
			b.down = ptr.To(duration(name, value))
		case "moment":
			if b.lingers = value == "back-off"; !b.lingers {
				b.moment = duration(name, value)
			}
		case "linger":
			b.linger = duration(name, value)
		case "restarts":
			b.restarts = number(name, value)
		case "exit-code":
			b.exitCode = ptr.To(number(name, value))
		case "event-burst":
			if b.eventBurst = int(number(name, value)); b.eventBurst < 1 {
				complain(name, value, "at least 1")
			}
		case "log":
			b.log = value
		case "message":
			b.message, b.wordless = value, value == ""
		case "needs":
			b.needs = number(name, value)
		case "needs-memory":
			quantity, err := resource.ParseQuantity(value)
			if err != nil {
				complain(name, value, err)
			}
			b.memory = &quantity
		case "reason":
			b.reason = value
		case "exec":
			b.exec = &value
		case "exec-code":
			b.execCode = int(number(name, value))
		case "forward":
			b.forward = map[int32]int32{}
			for _, pair := range strings.Split(value, ",") {
				from, to, _ := strings.Cut(pair, "=")
				b.forward[number(name, from)] = number(name, to)
			}
		default:
			complain(name, value, "no such annotation")
		}
	}
	if b.log != "" && !strings.HasSuffix(b.log, "\n") {
		b.log += "\n"
	}
	regular := func(c corev1.Container) bool { return !isSidecar(c) }
	if (b.mode == modeInitFail || b.then == modeInitFail) && !slices.ContainsFunc(pod.Spec.InitContainers, regular) {
		b.problem = "mode init-fail needs an init container"
	}
	for _, m := range []mode{modeLiveness, modeStartup} {
		if (b.mode == m || b.then == m) && !slices.ContainsFunc(slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers), func(c corev1.Container) bool {
			return (b.container == "" || b.container == c.Name) && probeOf(c, m) != nil
		}) {
			b.problem = fmt.Sprintf("mode %s needs a container with a %s probe", m, m)
		}
	}
	if (b.mode == modeLiveness || b.mode == modeStartup) && b.needs > 0 && allowed(pod, b.mode) >= b.needs {
		b.mode = modeReady
	}
	if b.mode == modeOOM && b.memory != nil && enough(pod, b.container, *b.memory) {
		b.mode = modeReady
	}
	return b
}

// enough tells whether each container that the mode is about may use this much memory.
func enough(pod *corev1.Pod, container string, memory resource.Quantity) bool {
	return !slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		limit, limited := c.Resources.Limits[corev1.ResourceMemory]
		return (container == "" || container == c.Name) && limited && limit.Cmp(memory) < 0
	})
}

// allowed is the longest time that a probe of this pod gives its container before it is killed.
func allowed(pod *corev1.Pod, m mode) int32 {
	var longest int32
	for _, container := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		if probe := probeOf(container, m); probe != nil {
			longest = max(longest, probe.InitialDelaySeconds+probe.PeriodSeconds*probe.FailureThreshold+probe.TimeoutSeconds)
		}
	}
	return longest
}

// at returns the mode that holds so long after the end of the delay, how long it has held, and when it changes.
func (b behaviour) at(since time.Duration) (current mode, held, change time.Duration) {
	if b.then == "" {
		return b.mode, since, 0
	}
	if since < b.thenAfter {
		return b.mode, since, b.thenAfter - since
	}
	return b.then, since - b.thenAfter, 0
}

// pullable tells by an image's name whether the registry has it, so that a manifest without any of our annotations can
// fail to pull.
func pullable(image string) bool {
	return !strings.HasSuffix(image, ":does-not-exist") && !strings.HasSuffix(image, ":nope") && !strings.Contains(image, "does.not.exist")
}

// isPresent tells whether the node has an image already; the images of the real node of the tests have such names.
func isPresent(image string) bool { return strings.HasPrefix(image, "localhost/") }

// probeOf is the probe whose failure a mode is about; nil if it is about none.
func probeOf(c corev1.Container, m mode) *corev1.Probe {
	switch m {
	case modeLiveness:
		return c.LivenessProbe
	case modeStartup:
		return c.StartupProbe
	default:
		return nil
	}
}

func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

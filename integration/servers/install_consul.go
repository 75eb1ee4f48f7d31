package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const consulModule = "github.com/hashicorp/consul"

// InstallConsul makes sure that there is a Consul of the version that is tested with, and returns its path: it
// builds it from its source in the module whose folder is named (tools/consul), into the user's cache, once.
// The program that GRANARY_CONSUL names is taken as it is. Several may call it at once, in processes of
// their own. Say hears what takes time, a line at a time.
func InstallConsul(ctx context.Context, module string, say func(string)) (string, error) {
	if os.Getenv(consulVariable) != "" {
		return FindConsul()
	}
	dir, err := consulFolder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "consul")
	have := func() error {
		if !isProgram(path) {
			return ErrMissing
		}
		return nil
	}
	if err := install(ctx, dir, have, func(fresh string) error { return buildConsul(ctx, module, fresh, say) }); err != nil {
		return "", fmt.Errorf("consul: %w\nIt is built from its source, which the Go command downloads once; or name a program of %s by %s", err, consulVersion, consulVariable)
	}
	return path, nil
}

// buildConsul builds it into a folder, and runs what came of it.
func buildConsul(ctx context.Context, module, fresh string, say func(string)) error {
	say("consul: building " + consulVersion + ", about 6 minutes the first time on two processors …")
	env := []string{"GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0", "GOTMPDIR=" + filepath.Dir(fresh)}
	err := retry(ctx, retryPause, func() error { // it downloads what is to be built
		_, err := perform(ctx, module, env, nil, "go", "list", "-deps", consulModule)
		return err
	})
	if err != nil {
		return err
	}
	program := filepath.Join(fresh, "consul")
	heard := counting(time.Now(), 30*time.Second, say)
	if _, err := perform(ctx, module, env, heard, "go", "build", "-v", "-ldflags=-s -w", "-o", program, consulModule); err != nil {
		return err
	}
	out, err := perform(ctx, fresh, nil, nil, program, "version")
	if err == nil && !strings.Contains(out, "Consul "+consulVersion) {
		err = fmt.Errorf("%s has another version than %s: %s", module, consulVersion, out)
	}
	return err
}

// counting tells now and then how many packages go build -v has named since it began.
func counting(began time.Time, every time.Duration, say func(string)) func(string) {
	n, last := 0, began
	return func(string) {
		n++
		if now := time.Now(); now.Sub(last) >= every {
			last = now
			say(fmt.Sprintf("consul: %d packages compiled, %v", n, now.Sub(began).Round(time.Second)))
		}
	}
}

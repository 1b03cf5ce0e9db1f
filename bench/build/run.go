package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// gitLocal are the variables by which git tells its hooks which repository they
// run for. They would make every git started here work on that one.
var gitLocal = []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY",
	"GIT_COMMON_DIR", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_NAMESPACE"}

// environ is this process's environment for a tool, with more settings.
func environ(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(gitLocal, name)
	})
	return append(env, more...)
}

// wordsMax bounds what is kept of a tool's complaint.
const wordsMax = 2 << 10

// toolError is how a tool failed, with the beginning of what it said: a compiler
// names the cause first.
type toolError struct {
	err  error
	said string
}

func (e *toolError) Error() string {
	if e.said == "" {
		return e.err.Error()
	}
	return e.said
}

func (e *toolError) Unwrap() error { return e.err }

// output runs a tool in dir and returns what it prints. The tool and what it
// starts end with ctx: they are one process group, and a tool that compiles has
// children. Errors: ctx's, ErrTool where there is no such tool, *toolError.
func output(ctx context.Context, dir string, env []string, argv ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return strings.TrimRight(out.String(), "\n"), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w: %s is not installed", ErrTool, argv[0])
	}
	said := strings.TrimSpace(errs.String())
	if len(said) > wordsMax {
		said = said[:wordsMax] + " …"
	}
	return "", &toolError{err, strings.ToValidUTF8(said, "?")}
}

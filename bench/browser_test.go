package bench

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"dyno/bench/record"
)

// chromiumEnv set to "required" makes a missing browser a failure.
const chromiumEnv = "DYNO_CHROMIUM"

// shotsEnv names a directory for pictures of every page that the test looks at.
const shotsEnv = "DYNO_SCREENSHOTS"

// browser starts a headless Chromium that ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv(chromiumEnv) == "required" {
			t.Fatal("no chromium: apt-get install chromium")
		}
		t.Skip("no chromium, so nobody looks at the reports: apt-get install chromium; " + chromiumEnv + "=required makes this a failure")
	}
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute) // outlives t.Context, to end in order
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits for the process
			t.Errorf("end the browser: %v", err)
		}
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// heard is what a page said that it should not have.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *heard) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

// listen notes every console message, exception and request of a tab but that for the
// page.
func (h *heard) listen(ctx context.Context, page string) error {
	err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			h.add("console: %s %v", ev.Type, ev.Args)
		case *runtime.EventExceptionThrown:
			h.add("exception: %v", ev.ExceptionDetails)
		case *log.EventEntryAdded:
			h.add("log: %s %s", ev.Entry.Level, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			if ev.Request.URL != page {
				h.add("request: %s", ev.Request.URL)
			}
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err == nil {
		_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	}
	return err
}

//go:embed testdata/report/look.js
var lookScript string

// looked is what testdata/report/look.js finds in a page.
type looked struct {
	Problems   []string `json:"problems"`
	Charts     int      `json:"charts"`
	Background string   `json:"background"`
}

// pages draws the reports that the test looks at, with the least number of charts.
func pages(t *testing.T) map[string]struct {
	path   string
	charts int
} {
	t.Helper()
	root := t.TempDir()
	type drawn = struct {
		path   string
		charts int
	}
	out := map[string]drawn{}
	for name, p := range map[string]struct {
		dir    string
		charts int
	}{
		"load":       {recordedLoad(t, root), 7},
		"experiment": {madeExperiment(t, root), 30},
		"comparison": {madeComparison(t, root), 4},
	} {
		path, err := WriteReport(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = drawn{path, p.charts}
	}
	entries, err := record.List(filepath.Join(root, "results"))
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d results: %v", len(entries), err)
	}
	index, err := WriteIndex(filepath.Join(root, "results", "local"), entries, madeTrends())
	if err != nil {
		t.Fatal(err)
	}
	history, err := WriteHistoryPage(root, madeTrends())
	if err != nil {
		t.Fatal(err)
	}
	out["index"], out["history"] = drawn{index, 2}, drawn{history, 2}
	return out
}

func TestLongReportsInABrowser(t *testing.T) {
	long(t)
	ctx := browser(t)
	for name, p := range pages(t) {
		backgrounds := map[string]bool{}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				view := fmt.Sprintf("%s, %s, %d wide", name, scheme, width)
				got := look(t, ctx, view, p.path, scheme, width)
				for _, problem := range got.Problems {
					t.Errorf("%s: %s", view, problem)
				}
				if got.Charts < p.charts {
					t.Errorf("%s: %d charts, want at least %d", view, got.Charts, p.charts)
				}
				backgrounds[got.Background] = true
			}
		}
		if len(backgrounds) != 2 {
			t.Errorf("%s: light and dark have the backgrounds %v", name, backgrounds)
		}
	}
}

// show is how a page is shown.
func show(ctx context.Context, scheme string, width int64) error {
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride,
		emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 600})
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	}
	return err
}

// look opens a page in a tab of its own and reports what is wrong with it.
func look(t *testing.T, ctx context.Context, view, path, scheme string, width int64) (got looked) {
	t.Helper()
	tab, stop := chromedp.NewContext(ctx)
	defer stop()
	url := "file://" + path
	var h heard
	err := chromedp.Do(tab)
	if err == nil {
		err = h.listen(tab, url)
	}
	if err == nil {
		err = show(tab, scheme, width)
	}
	if err == nil {
		err = chromedp.Do(tab, chromedp.Navigate(url))
	}
	if err == nil {
		err = shoot(tab, view)
	}
	if err == nil {
		got, err = chromedp.Run(tab, chromedp.Evaluate[looked](lookScript))
	}
	if err != nil {
		t.Fatalf("%s: %v", view, err)
	}
	if said := h.all(); said != "" {
		t.Errorf("%s: the page was not silent:\n%s", view, said)
	}
	return got
}

// shoot keeps a picture of the page, for people, where that is asked for.
func shoot(tab context.Context, view string) error {
	into := os.Getenv(shotsEnv)
	if into == "" {
		return nil
	}
	shot, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(into, strings.NewReplacer(", ", "-", " ", "-").Replace(view)+".png"), shot, 0o600)
}

// Everything that can be looked into is reached with the Tab key, the way past the head
// first.
func TestReportsWithTheKeyboard(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	ctx := browser(t)
	for name, p := range pages(t) {
		t.Run(name, func(t *testing.T) {
			tab, stop := chromedp.NewContext(ctx)
			defer stop()
			if err := chromedp.Do(tab, chromedp.Navigate("file://"+p.path)); err != nil {
				t.Fatal(err)
			}
			first := press(t, tab)
			if first != "skip" {
				t.Errorf("the first stop is %q, want the way past the head", first)
			}
			for range 500 {
				if at := press(t, tab); at == "skip" || at == "BODY" { // once around
					break
				}
			}
			left, err := chromedp.Run(tab, chromedp.Evaluate[[]string](missedScript))
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range left {
				t.Errorf("not reached: %s", what)
			}
		})
	}
}

const (
	// focusScript marks what has the focus, and names it.
	focusScript = `(() => { const e = document.activeElement; e.dataset.reached = "yes"; return e.className.baseVal || e.className || e.tagName })()`
	// missedScript lists what never had it.
	missedScript = `[...document.querySelectorAll("svg.chart, summary, nav a")].filter(e => e.checkVisibility() && !e.dataset.reached).map(e => e.outerHTML.slice(0, 120))`
)

// press presses Tab and says what has the focus then.
func press(t *testing.T, tab context.Context) string {
	t.Helper()
	err := chromedp.Do(tab, chromedp.KeyEvent(kb.Tab))
	at := ""
	if err == nil {
		at, err = chromedp.Run(tab, chromedp.Evaluate[string](focusScript))
	}
	if err != nil {
		t.Fatal(err)
	}
	return at
}

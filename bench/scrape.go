package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// counters are the samples of one Prometheus page, summed over labels.
type counters map[string]float64

// need says which of these counters are missing: none is never the same as zero.
func (c counters) need(names ...string) error {
	for _, name := range names {
		if _, ok := c[name]; !ok {
			return fmt.Errorf("the brokers do not serve %s", name)
		}
	}
	return nil
}

// scrapeMax bounds one page; dyno's has some hundred lines.
const scrapeMax = 8 << 20

// scrape reads http://admin/metrics.
func scrape(ctx context.Context, client *http.Client, admin string) (counters, error) {
	body, err := fetchPage(ctx, client, admin, "/metrics")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return parseCounters(io.LimitReader(body, scrapeMax))
}

// pageWait bounds one page, from the question to the end of the answer.
const pageWait = 5 * time.Second

// fetchPage asks an admin address for a page. The caller closes it.
func fetchPage(ctx context.Context, client *http.Client, admin, path string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL(admin, path), nil)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			if resp.StatusCode == http.StatusOK {
				return &answer{resp.Body, cancel}, nil
			}
			resp.Body.Close()
			err = fmt.Errorf("status %s", resp.Status)
		}
	}
	cancel()
	return nil, fmt.Errorf("read %s of %s: %w", path, admin, err)
}

// answer is the body of a page, with what bounds it in time.
type answer struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (a *answer) Close() error {
	defer a.cancel()
	return a.ReadCloser.Close()
}

func adminURL(admin, path string) string {
	if !strings.Contains(admin, "://") {
		admin = "http://" + admin
	}
	return strings.TrimSuffix(admin, "/") + path
}

// parseCounters reads the text format (Prometheus exposition formats, 0.0.4),
// adding up the series of one name: the lab asks for totals only.
func parseCounters(r io.Reader) (counters, error) {
	out := counters{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		var name, rest string
		if open := strings.IndexByte(text, '{'); open >= 0 {
			end := strings.LastIndexByte(text, '}')
			if end < open {
				return nil, fmt.Errorf("scrape: line %q", text)
			}
			name, rest = text[:open], text[end+1:]
		} else {
			name, rest, _ = strings.Cut(text, " ")
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return nil, fmt.Errorf("scrape: line %q has no value", text)
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("scrape: line %q: %w", text, err)
		}
		out[name] += v
	}
	return out, lines.Err()
}

package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/volant/fledge-action/internal/summary"
)

// verify verifies targets.
func (p *Program) verify(ctx context.Context, t target) error {
	if err := p.open("."); err != nil {
		return err
	}
	p.page.Repo = t.repo
	if t.token != "" {
		p.overlay["GITHUB_TOKEN"] = t.token
	}
	if t.api != "" {
		p.overlay["GITHUB_API_URL"] = t.api
	}
	key := t.key
	if strings.Contains(key, "-----BEGIN") {
		key = p.private("key.pub")
		if err := os.WriteFile(key, []byte(t.key+"\n"), 0o600); err != nil {
			return fmt.Errorf("keeping the key: %w", err)
		}
	}
	c := verifyCommand(t, key, p.private("cache"))
	var raw json.RawMessage
	err := p.step(ctx, "Verify", "", c, &raw)
	var result struct {
		OK      bool `json:"ok"`
		Targets []struct {
			Target  string `json:"target"`
			Result  string `json:"result"`
			Reasons []struct {
				Message string `json:"message"`
			} `json:"reasons"`
		} `json:"targets"`
	}
	if len(raw) > 0 {
		if err := decode(c, raw, &result); err != nil {
			return err
		}
		p.outputs["result"] = string(raw)
	}
	p.outputs["verified"] = fmt.Sprint(err == nil && result.OK)
	log := p.workflow.Log()
	var reasons []error
	for _, x := range result.Targets {
		fmt.Fprintf(log, "%s: %s\n", x.Target, x.Result)
		if x.Result == "nothing" {
			reasons = append(reasons, fmt.Errorf("%s: there is no bundle to verify it with", x.Target))
		}
		for _, r := range x.Reasons {
			reasons = append(reasons, fmt.Errorf("%s: %s", x.Target, r.Message))
		}
	}
	p.page.Repeat = []summary.Command{p.repeat(c)}
	var step *stepError
	if len(reasons) > 0 && errors.As(err, &step) {
		step.err, step.stage = errors.Join(reasons...), "verifying"
	}
	return err
}

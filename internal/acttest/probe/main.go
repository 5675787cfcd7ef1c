// Command probe stands in for the action where a test asks what workflows hand to it and
// what becomes of its outputs. It tells its inputs to the test at PROBE_URL and does the
// least that the next step needs: plugins are files of one line.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Printf("::error::probe: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	if err := os.Chdir(os.Getenv("GITHUB_WORKSPACE")); err != nil {
		return err
	}
	inputs := map[string]string{}
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "INPUT_") {
			inputs[strings.ToLower(name[len("INPUT_"):])] = value
		}
	}
	command := inputs["command"]
	if len(os.Args) > 1 && os.Args[1] == "verify" {
		command = "verify"
	}
	body, err := json.Marshal(map[string]any{
		"command": command, "job": os.Getenv("GITHUB_JOB"), "event": os.Getenv("GITHUB_EVENT_NAME"), "ref": os.Getenv("GITHUB_REF"), "inputs": inputs,
	})
	if err != nil {
		return err
	}
	answer, err := http.Post(os.Getenv("PROBE_URL"), "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	switch command {
	case "plan":
		return plan()
	case "build":
		return build(inputs)
	case "install":
		return install()
	case "release":
		return release(inputs)
	}
	return nil
}

func output(name, value string) error {
	f, err := os.OpenFile(os.Getenv("GITHUB_OUTPUT"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s<<end-of-value\n%s\nend-of-value\n", name, value)
	return err
}

func summary(text string) error {
	f, err := os.OpenFile(os.Getenv("GITHUB_STEP_SUMMARY"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, text)
	return err
}

func plan() error {
	var include []map[string]string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "fledge.toml" {
			include = append(include, map[string]string{"config": path, "name": filepath.Base(filepath.Dir(path)), "platform": "linux/amd64", "runner": "ubuntu-24.04"})
		}
		return err
	})
	if err != nil {
		return err
	}
	matrix, err := json.Marshal(map[string]any{"include": include})
	if err != nil {
		return err
	}
	if err := output("matrix", string(matrix)); err != nil {
		return err
	}
	return output("any", fmt.Sprint(len(include) > 0))
}

func build(inputs map[string]string) error {
	text, err := os.ReadFile(inputs["config"])
	if err != nil {
		return err
	}
	name := "plugin"
	if dir := filepath.Base(filepath.Dir(inputs["config"])); dir != "." {
		name = dir
	}
	if err := os.MkdirAll(inputs["output-dir"], 0o755); err != nil {
		return err
	}
	artifact := filepath.Join(inputs["output-dir"], name+".img")
	if err := os.WriteFile(artifact, text, 0o644); err != nil {
		return err
	}
	manifest := filepath.Join(inputs["output-dir"], "manifest.json")
	if err := os.WriteFile(manifest, []byte("{}\n"), 0o644); err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	return errors.Join(output("artifact", artifact), output("artifact-digest", digest), output("manifest", manifest), summary("# Built "+name))
}

// install leaves a program that passes any boot test.
func install() error {
	if err := os.MkdirAll(".fledge", 0o755); err != nil {
		return err
	}
	script := "#!/bin/sh\necho '{\"result\": \"PASS\"}'\n"
	return errors.Join(os.WriteFile(".fledge/fledge", []byte(script), 0o755), output("fledge", ".fledge/fledge"))
}

// release names the files that it finds.
func release(inputs map[string]string) error {
	var files []string
	err := filepath.WalkDir(inputs["output-dir"], func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	names, err := json.Marshal(files)
	if err != nil {
		return err
	}
	return errors.Join(output("artifacts", string(names)), output("release-url", "https://example.com/release"), output("release-id", "7"), output("signed", "true"), summary("# Released"))
}

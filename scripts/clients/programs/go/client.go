// Writes and reads values as Go programs do with crypto/cipher; the protocol is described in scripts/clients/runtimes.py.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

type item struct{ Key, Name, Text, Value string }

type request struct {
	Op, Client string
	Keys       map[string]string
	Items      []item
}

type encoding struct {
	encode func([]byte) string
	decode func(string) ([]byte, error)
}

var clients = map[string]encoding{
	"Go `crypto/cipher`, `gcm.Seal(nonce, nonce, ...)`": {
		func(b []byte) string { return string(b) },
		func(s string) ([]byte, error) { return []byte(s), nil },
	},
	"Go, the same in base64":          {base64.StdEncoding.EncodeToString, base64.StdEncoding.DecodeString},
	"Go, the same in URL-safe base64": {base64.URLEncoding.EncodeToString, base64.URLEncoding.DecodeString},
	"Go, the same in hex":             {hex.EncodeToString, hex.DecodeString},
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func newGCM(secret string) cipher.AEAD {
	return must(cipher.NewGCM(must(aes.NewCipher(must(hex.DecodeString(secret))))))
}

func write(client encoding, secret string, one item) string {
	gcm := newGCM(secret)
	nonce := make([]byte, gcm.NonceSize())
	must(rand.Read(nonce))
	value := client.encode(gcm.Seal(nonce, nonce, []byte(one.Text), nil))
	return base64.StdEncoding.EncodeToString([]byte(value))
}

func read(client encoding, keys map[string]string, one item) *string {
	stored := must(base64.StdEncoding.DecodeString(one.Value))
	for _, secret := range keys {
		gcm := newGCM(secret)
		data, err := client.decode(string(stored))
		if err == nil && len(data) >= gcm.NonceSize() {
			var plain []byte
			plain, err = gcm.Open(nil, data[:gcm.NonceSize()], data[gcm.NonceSize():], nil)
			if err == nil {
				text := string(plain)
				return &text
			}
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", one.Name, err)
	}
	return nil
}

func main() {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client, known := clients[asked.Client]
	if !known {
		fmt.Fprintln(os.Stderr, "no such client")
		os.Exit(1)
	}
	answers := []any{}
	for _, one := range asked.Items {
		if asked.Op == "write" {
			answers = append(answers, write(client, asked.Keys[one.Key], one))
		} else {
			answers = append(answers, read(client, asked.Keys, one))
		}
	}
	var answer any = answers
	if asked.Op == "describe" {
		version := strings.TrimPrefix(runtime.Version(), "go")
		answer = map[string]any{"version": version, "wraps": false, "labels": map[string]string{}, "derived": asked.Keys}
	}
	must(0, json.NewEncoder(os.Stdout).Encode(answer))
}

// The reference implementation's word on one log directory and on many proofs (golang.org/x/mod/sumdb note and tlog).
// A question comes on stdin as JSON, the answer goes to stdout as JSON; nothing of the log's own code is in here.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Dir     string `json:"dir"`
	Note    string `json:"note"`
	Key     string `json:"key"`
	Witness string `json:"witness"`
	Old     int64  `json:"old"`
	Cases   []struct {
		Tree         bool
		Proof        []tlog.Hash
		Size, Number int64
		Root, Hash   tlog.Hash
	} `json:"cases"`
}

type answer struct {
	Text      string        `json:"text"`
	Signers   []string      `json:"signers"`
	Leaves    []tlog.Hash   `json:"leaves"`
	Inclusion [][]tlog.Hash `json:"inclusion"`
	Tree      []tlog.Hash   `json:"tree"`
	Verdicts  []bool        `json:"verdicts"`
	Error     string        `json:"error"`
}

// cosigner verifies timestamped Ed25519 cosignatures, which the library leaves to its callers.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(c.key, append([]byte(head), msg...), sig[8:])
}

func newCosigner(vkey string) (*cosigner, error) {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(parts) != 3 || len(key) != 33 || key[0] != 4 {
		return nil, fmt.Errorf("not a witness key")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	return &cosigner{parts[0], binary.BigEndian.Uint32(sum[:]), key[1:]}, nil
}

type folder string

func (f folder) Height() int                     { return 8 }
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f folder) leaves(size int64) ([]tlog.Hash, error) {
	var leaves []tlog.Hash
	for start := int64(0); start < size; start += 256 {
		width := 256
		if size-start < 256 {
			width = int(size - start)
		}
		path := strings.Replace(tlog.Tile{H: 8, L: -1, N: start / 256, W: width}.Path(), "tile/8/data", "tile/entries", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		for len(data) >= 2 {
			length := int(binary.BigEndian.Uint16(data))
			leaves = append(leaves, tlog.RecordHash(data[2:2+length]))
			data = data[2+length:]
		}
	}
	return leaves, nil
}

func ask(asked question) (told answer, err error) {
	for _, c := range asked.Cases {
		if c.Tree {
			err = tlog.CheckTree(c.Proof, c.Size, c.Root, c.Number, c.Hash)
		} else {
			err = tlog.CheckRecord(c.Proof, c.Size, c.Root, c.Number, c.Hash)
		}
		told.Verdicts = append(told.Verdicts, err == nil)
	}
	if asked.Dir == "" {
		return told, nil
	}
	verifier, err := note.NewVerifier(asked.Key)
	if err != nil {
		return told, err
	}
	witness, err := newCosigner(asked.Witness)
	if err != nil {
		return told, err
	}
	opened, err := note.Open([]byte(asked.Note), note.VerifierList(verifier, witness))
	if err != nil {
		return told, err
	}
	told.Text = opened.Text
	for _, signature := range opened.Sigs {
		told.Signers = append(told.Signers, signature.Name)
	}
	lines := strings.Split(opened.Text, "\n")
	tree := tlog.Tree{}
	if _, err = fmt.Sscan(lines[1], &tree.N); err != nil {
		return told, err
	}
	if tree.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		return told, err
	}
	reader := tlog.TileHashReader(tree, folder(asked.Dir))
	if told.Leaves, err = folder(asked.Dir).leaves(tree.N); err != nil {
		return told, err
	}
	for number := int64(0); number < tree.N; number += 1 + tree.N/97 {
		proof, err := tlog.ProveRecord(tree.N, number, reader)
		if err != nil {
			return told, err
		}
		if err = tlog.CheckRecord(proof, tree.N, tree.Hash, number, told.Leaves[number]); err != nil {
			return told, err
		}
		told.Inclusion = append(told.Inclusion, proof)
	}
	told.Tree, err = tlog.ProveTree(tree.N, asked.Old, reader)
	return told, err
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	told, err := ask(asked)
	if err != nil {
		told.Error = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(told)
}

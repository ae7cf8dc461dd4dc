BEGIN TRANSACTION;
CREATE TABLE encryptions (key_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "encryptions" VALUES('31c30dc1669a33ab',95);
CREATE TABLE endings (caches TEXT PRIMARY KEY, exit_code INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "endings" VALUES('[[], []]',0);
CREATE TABLE histories (
    cache TEXT, key_id TEXT, history TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "histories" VALUES('stopped','31c30dc1669a33ab','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": null, "first_seen_at": null, "last_seen_at": "2026-11-26T07:09:15.460203Z", "swept_at": null, "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('stopped','7eb279f3b0c4a662','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-11-26T07:08:49.079127Z", "first_seen_at": "2026-11-26T07:08:49.109847Z", "last_seen_at": "2026-11-26T07:09:13.483632Z", "swept_at": "2026-11-26T07:08:49.514350Z", "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
CREATE TABLE holds (
    cache TEXT, key_id TEXT, holds TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "holds" VALUES('stopped','7eb279f3b0c4a662','[]');
CREATE TABLE marks (
    cache TEXT, key_id TEXT, clean_since TEXT NOT NULL, marks TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE positions (
    cache TEXT, phase TEXT, node TEXT, position TEXT NOT NULL,
    PRIMARY KEY (cache, phase, node)
) WITHOUT ROWID;
INSERT INTO "positions" VALUES('stopped','run','127.0.0.1:17005','{"digest": "ab4843f78e42e955125dcb81394df4f2043d1a59dc7e8e09513972748cafb155", "identity": {"run_id": "6fb791e66f1d05f516b270cf83036a8917a53d4e", "role": "master", "replication_id": "f8d0e03db562fc03b79c20283b9fe304d7bdefd9", "version": "valkey 9.1.2", "calls": {}, "place": "7fb8be191fae4b9b94b2ec846d2912920990c842 primary 1 0-5460", "commands": 12254, "evicted": 0}, "started_at": "2026-11-26T07:09:07.468760+00:00", "tally": {"outcomes": {"current": 0, "rotated": 35, "would_rotate": 0, "gone": 0, "contended": 0, "undecryptable": 0, "nested": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "reasons": {}, "keys": {"7eb279f3b0c4a662": {"found": 35, "rotated": 35, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "size": 5163, "first_seen_at": "2026-11-26T07:09:07.469039+00:00", "last_seen_at": "2026-11-26T07:09:13.483632+00:00", "last_too_large_at": null, "prefixes": {"app": 35}, "samples": [], "drain": {"never": 0, "hours": [], "latest_ms": null}}}, "problems": [], "encryptions": 0}, "scanning": [0, null], "cursor": "1823", "done": [], "restarts": 0, "reasons": []}');
INSERT INTO "positions" VALUES('stopped','run','127.0.0.1:17006','{"digest": "ab4843f78e42e955125dcb81394df4f2043d1a59dc7e8e09513972748cafb155", "identity": {"run_id": "9b67a2eaa5c81e1cbb9492bf8d85a1b53672f061", "role": "master", "replication_id": "94c386c9caf7f586c4d81e3f6e483a37640db63c", "version": "valkey 9.1.2", "calls": {}, "place": "102256657a277405fc2fb1a5eff580aa642f9923 primary 2 5461-10921", "commands": 11573, "evicted": 0}, "started_at": "2026-11-26T07:09:08.018305+00:00", "tally": {"outcomes": {"current": 0, "rotated": 30, "would_rotate": 0, "gone": 0, "contended": 0, "undecryptable": 0, "nested": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "reasons": {}, "keys": {"7eb279f3b0c4a662": {"found": 30, "rotated": 30, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "size": 3809, "first_seen_at": "2026-11-26T07:09:08.018580+00:00", "last_seen_at": "2026-11-26T07:09:13.061208+00:00", "last_too_large_at": null, "prefixes": {"app": 30}, "samples": [], "drain": {"never": 0, "hours": [], "latest_ms": null}}}, "problems": [], "encryptions": 0}, "scanning": [0, null], "cursor": "6982", "done": [], "restarts": 0, "reasons": []}');
INSERT INTO "positions" VALUES('stopped','run','127.0.0.1:17007','{"digest": "ab4843f78e42e955125dcb81394df4f2043d1a59dc7e8e09513972748cafb155", "identity": {"run_id": "f1d0371e1e8287e2be614ef15b22cd0cb1fb12e5", "role": "master", "replication_id": "9f0f7f161584c7c934f3074acbcca0234c9d531c", "version": "valkey 9.1.2", "calls": {}, "place": "f169de68faf3d8e5025b763d6e10e42a6fd86720 primary 3 10922-16383", "commands": 11538, "evicted": 0}, "started_at": "2026-11-26T07:09:08.120964+00:00", "tally": {"outcomes": {"current": 0, "rotated": 30, "would_rotate": 0, "gone": 0, "contended": 0, "undecryptable": 0, "nested": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "reasons": {}, "keys": {"7eb279f3b0c4a662": {"found": 30, "rotated": 30, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "size": 3875, "first_seen_at": "2026-11-26T07:09:08.121448+00:00", "last_seen_at": "2026-11-26T07:09:13.129683+00:00", "last_too_large_at": null, "prefixes": {"app": 30}, "samples": [], "drain": {"never": 0, "hours": [], "latest_ms": null}}}, "problems": [], "encryptions": 0}, "scanning": [0, null], "cursor": "12707", "done": [], "restarts": 0, "reasons": []}');
CREATE TABLE reports (cache TEXT PRIMARY KEY, report TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "reports" VALUES('stopped','{
  "schema": 1,
  "rotator": "1.0.0",
  "mode": "run",
  "started_at": "2026-11-26T07:08:49Z",
  "finished_at": "2026-11-26T07:09:15Z",
  "exit_code": 4,
  "caches": [
    {
      "name": "stopped",
      "complete": false,
      "stopped": "max-duration",
      "visits": 95,
      "outcomes": {
        "current": 0,
        "rotated": 95,
        "would_rotate": 0,
        "gone": 0,
        "contended": 0,
        "undecryptable": 0,
        "nested": 0,
        "not_string": 0,
        "too_large": 0,
        "denied": 0,
        "failed": 0
      },
      "verification": null,
      "coverage": {
        "mode": "cluster",
        "slots_covered": 16384,
        "topology_changed": false,
        "restarts": 0,
        "orphans": 0,
        "databases": [
          0
        ],
        "nodes": [
          {
            "node": "127.0.0.1:17007",
            "run_id": "f1d0371e1e8287e2be614ef15b22cd0cb1fb12e5",
            "version": "valkey 9.1.2",
            "visits": 30,
            "complete": false,
            "restarts": 0,
            "reasons": [],
            "evictions": 0
          },
          {
            "node": "127.0.0.1:17005",
            "run_id": "6fb791e66f1d05f516b270cf83036a8917a53d4e",
            "version": "valkey 9.1.2",
            "visits": 35,
            "complete": false,
            "restarts": 0,
            "reasons": [],
            "evictions": 0
          },
          {
            "node": "127.0.0.1:17006",
            "run_id": "9b67a2eaa5c81e1cbb9492bf8d85a1b53672f061",
            "version": "valkey 9.1.2",
            "visits": 30,
            "complete": false,
            "restarts": 0,
            "reasons": [],
            "evictions": 0
          }
        ],
        "not_looked_at": []
      },
      "keys": [
        {
          "id": "31c30dc1669a33ab",
          "role": "current",
          "field": "caches[0].encryption.keys.current",
          "found": 0,
          "rotated": 0,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 0,
          "drains_at": null,
          "drain": [],
          "last_seen_at": null,
          "verdict": null,
          "ready_at": null,
          "held_until": null,
          "reasons": [],
          "next_step": null,
          "first_seen_at": null,
          "prefixes": {},
          "samples": [],
          "encryptions": 95,
          "nonce_budget_used": 2.2118911147117615e-8,
          "past": null
        },
        {
          "id": "7eb279f3b0c4a662",
          "role": "old",
          "field": "caches[0].encryption.keys.old[0]",
          "found": 95,
          "rotated": 95,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 12847,
          "drains_at": null,
          "drain": [
            [
              "2026-11-26T08:00:00Z",
              0
            ]
          ],
          "last_seen_at": "2026-11-26T07:09:13Z",
          "verdict": "unknown",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "no complete sweep"
          ],
          "next_step": "run again until one is complete",
          "first_seen_at": "2026-11-26T07:08:49Z",
          "prefixes": {
            "app": 95
          },
          "samples": [],
          "encryptions": 0,
          "nonce_budget_used": 6.984919309616089e-8,
          "past": {
            "first_seen_at": "2026-11-26T07:08:49Z",
            "last_seen_at": "2026-11-26T07:09:13Z",
            "swept_at": "2026-11-26T07:08:49Z",
            "clean_since": null,
            "clean_sweeps": 0,
            "returned_at": null,
            "verdicts": [
              [
                "2026-11-26T07:08:49Z",
                "in-use"
              ],
              [
                "2026-11-26T07:09:15Z",
                "unknown"
              ]
            ]
          }
        }
      ],
      "problems": [],
      "problems_total": 0,
      "accepted": {},
      "waited_seconds": {
        "rate": 17.356
      },
      "sweep_seconds": 25.724217154001963,
      "warnings": [],
      "error": null,
      "judged_at": "2026-11-26T07:09:15Z",
      "swept_at": "2026-11-26T07:08:49Z",
      "visits_now": 95,
      "progress": {
        "phase": "sweep",
        "names": 300,
        "visited": 95,
        "fraction": 0.3167,
        "rotated": 95,
        "runs": 1,
        "visits_per_second": 3.7,
        "done_by": "2026-11-29T07:08:54Z",
        "basis": "if a window as long as this one (25.7 s) follows every 24 h"
      },
      "attempt": null,
      "outlook": null
    }
  ],
  "error": null
}
','2026-11-26T07:09:15.465467+00:00');
CREATE TABLE seen (
    cache TEXT, key_id TEXT, number INTEGER NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "seen" VALUES('stopped','7eb279f3b0c4a662',300);
CREATE TABLE sweeps (cache TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "sweeps" VALUES('stopped','{"cache": "stopped", "mode": "dry-run", "started_at": "2026-11-26T07:08:49.079127Z", "finished_at": "2026-11-26T07:08:49.514350Z", "complete": true, "current": "31c30dc1669a33ab", "keys": {"7eb279f3b0c4a662": {"found": 300, "remaining": 300, "remaining_without_ttl": 100, "too_large": 0, "too_large_without_ttl": 0, "drains_at": "2100-01-12T13:40:49.501000Z", "first_seen_at": "2026-11-26T07:08:49.109847Z", "last_seen_at": "2026-11-26T07:08:49.399650Z", "prefixes": ["app"]}}, "scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "visits": 300, "verified": true, "not_looked_at": [], "open_items": {"undecryptable": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "accepted": {}, "doubt": null}');
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, key_id TEXT NOT NULL, at TEXT NOT NULL, verdict TEXT NOT NULL
);
INSERT INTO "verdicts" VALUES(1,'7eb279f3b0c4a662','2026-11-26T07:08:49.566256+00:00','in-use');
INSERT INTO "verdicts" VALUES(2,'7eb279f3b0c4a662','2026-11-26T07:09:15.465467+00:00','unknown');
CREATE TABLE windows (number INTEGER PRIMARY KEY, cache TEXT NOT NULL, record TEXT NOT NULL);
INSERT INTO "windows" VALUES(1,'stopped','{"mode": "dry-run", "started_at": "2026-11-26T07:08:49.079127Z", "finished_at": "2026-11-26T07:08:49.514350Z", "begun_at": "2026-11-26T07:08:49.079127Z", "visits": 300, "rotated": 0, "seconds": 0.4352218090025417, "visited": 300, "rotated_in_all": 0, "names": 300, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 300, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(2,'stopped','{"mode": "run", "started_at": "2026-11-26T07:08:49.735989Z", "finished_at": "2026-11-26T07:09:15.460203Z", "begun_at": "2026-11-26T07:08:49.735989Z", "visits": 95, "rotated": 95, "seconds": 25.724217154001963, "visited": 95, "rotated_in_all": 95, "names": 300, "complete": false, "stopped": "max-duration", "timed": true, "ends_at": "2026-11-26T07:09:13.667171Z", "verifying": false, "left": 205, "rate": 15.0, "waited": {"rate": 25.45370241629712}}');
CREATE INDEX verdicts_by_key ON verdicts (key_id, number);
CREATE INDEX windows_by_cache ON windows (cache, number);
COMMIT;
PRAGMA application_id=1380930561;
PRAGMA user_version=2;

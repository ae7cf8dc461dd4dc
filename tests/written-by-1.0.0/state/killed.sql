BEGIN TRANSACTION;
CREATE TABLE encryptions (key_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "encryptions" VALUES('0b8d4c5fd84e5486',0);
CREATE TABLE endings (caches TEXT PRIMARY KEY, exit_code INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "endings" VALUES('[[], []]',0);
CREATE TABLE histories (
    cache TEXT, key_id TEXT, history TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "histories" VALUES('killed','0506949a312f1e45','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-11-02T03:00:00.299121Z", "first_seen_at": "2026-11-02T03:00:00.301837Z", "last_seen_at": "2026-11-02T03:00:00.324158Z", "swept_at": "2026-11-02T03:00:00.326963Z", "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('killed','0b8d4c5fd84e5486','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": null, "first_seen_at": null, "last_seen_at": "2026-11-02T03:00:00.326963Z", "swept_at": null, "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
CREATE TABLE holds (
    cache TEXT, key_id TEXT, holds TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "holds" VALUES('killed','0506949a312f1e45','[]');
CREATE TABLE marks (
    cache TEXT, key_id TEXT, clean_since TEXT NOT NULL, marks TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
CREATE TABLE positions (
    cache TEXT, phase TEXT, node TEXT, position TEXT NOT NULL,
    PRIMARY KEY (cache, phase, node)
) WITHOUT ROWID;
INSERT INTO "positions" VALUES('killed','run','127.0.0.1:17004','{"digest": "e202665cb0793ce398708e24e33a50abb8ee8c75a4436366fb05b98f67e2d8fe", "identity": {"run_id": "9ff1ae3a390764b1e93168728cadb88c3d1d0422", "role": "master", "replication_id": "67cffac9f1149cd22e4ce7c9808a6ed97af46869", "version": "valkey 9.1.2", "calls": {}, "place": "", "commands": 596, "evicted": 0}, "started_at": "2026-11-03T03:00:00.054357+00:00", "tally": {"outcomes": {"current": 0, "rotated": 106, "would_rotate": 0, "gone": 0, "contended": 0, "undecryptable": 0, "nested": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "reasons": {}, "keys": {"0506949a312f1e45": {"found": 106, "rotated": 106, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "size": 4351, "first_seen_at": "2026-11-03T03:00:00.054636+00:00", "last_seen_at": "2026-11-03T03:00:02.475371+00:00", "last_too_large_at": null, "prefixes": {"app": 106}, "samples": [], "drain": {"never": 0, "hours": [], "latest_ms": null}}}, "problems": [], "encryptions": 106}, "scanning": [0, null], "cursor": "17", "done": [], "restarts": 0, "reasons": []}');
CREATE TABLE reports (cache TEXT PRIMARY KEY, report TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "reports" VALUES('killed','{
  "schema": 1,
  "rotator": "1.0.0",
  "mode": "dry-run",
  "started_at": "2026-11-02T03:00:00Z",
  "finished_at": "2026-11-02T03:00:00Z",
  "exit_code": 0,
  "caches": [
    {
      "name": "killed",
      "complete": true,
      "stopped": null,
      "visits": 200,
      "outcomes": {
        "current": 0,
        "rotated": 0,
        "would_rotate": 200,
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
        "mode": "standalone",
        "slots_covered": null,
        "topology_changed": false,
        "restarts": 0,
        "orphans": 0,
        "databases": [
          0
        ],
        "nodes": [
          {
            "node": "127.0.0.1:17004",
            "run_id": "9ff1ae3a390764b1e93168728cadb88c3d1d0422",
            "version": "valkey 9.1.2",
            "visits": 200,
            "complete": true,
            "restarts": 0,
            "reasons": [],
            "evictions": 0
          }
        ],
        "not_looked_at": []
      },
      "keys": [
        {
          "id": "0b8d4c5fd84e5486",
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
          "encryptions": 0,
          "nonce_budget_used": 0.0,
          "past": null
        },
        {
          "id": "0506949a312f1e45",
          "role": "old",
          "field": "caches[0].encryption.keys.old[0]",
          "found": 200,
          "rotated": 0,
          "remaining": 200,
          "remaining_without_ttl": 200,
          "bytes": 8129,
          "drains_at": null,
          "drain": [
            [
              "2026-11-02T04:00:00Z",
              200
            ]
          ],
          "last_seen_at": "2026-11-02T03:00:00Z",
          "verdict": "in-use",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "200 values without a TTL remain under it, first seen 2026-11-02 03:00 UTC (names begin with app)"
          ],
          "next_step": "run without --dry-run to move what remains",
          "first_seen_at": "2026-11-02T03:00:00Z",
          "prefixes": {
            "app": 200
          },
          "samples": [
            "app:031",
            "app:068",
            "app:154",
            "app:171",
            "app:191",
            "app:004",
            "app:083",
            "app:103",
            "app:158",
            "app:020"
          ],
          "encryptions": 0,
          "nonce_budget_used": 4.6566128730773926e-8,
          "past": {
            "first_seen_at": "2026-11-02T03:00:00Z",
            "last_seen_at": "2026-11-02T03:00:00Z",
            "swept_at": "2026-11-02T03:00:00Z",
            "clean_since": null,
            "clean_sweeps": 0,
            "returned_at": null,
            "verdicts": [
              [
                "2026-11-02T03:00:00Z",
                "in-use"
              ]
            ]
          }
        }
      ],
      "problems": [],
      "problems_total": 0,
      "accepted": {},
      "waited_seconds": {},
      "sweep_seconds": 0.027840624999953434,
      "warnings": [],
      "error": null,
      "judged_at": "2026-11-02T03:00:00Z",
      "swept_at": "2026-11-02T03:00:00Z",
      "visits_now": 200,
      "progress": null,
      "attempt": null,
      "outlook": null
    }
  ],
  "error": null
}
','2026-11-02T03:00:00.351606+00:00');
CREATE TABLE seen (
    cache TEXT, key_id TEXT, number INTEGER NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "seen" VALUES('killed','0506949a312f1e45',200);
CREATE TABLE sweeps (cache TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "sweeps" VALUES('killed','{"cache": "killed", "mode": "dry-run", "started_at": "2026-11-02T03:00:00.299121Z", "finished_at": "2026-11-02T03:00:00.326963Z", "complete": true, "current": "0b8d4c5fd84e5486", "keys": {"0506949a312f1e45": {"found": 200, "remaining": 200, "remaining_without_ttl": 200, "too_large": 0, "too_large_without_ttl": 0, "drains_at": null, "first_seen_at": "2026-11-02T03:00:00.301837Z", "last_seen_at": "2026-11-02T03:00:00.324158Z", "prefixes": ["app"]}}, "scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "visits": 200, "verified": true, "not_looked_at": [], "open_items": {"undecryptable": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "accepted": {}, "doubt": null}');
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, key_id TEXT NOT NULL, at TEXT NOT NULL, verdict TEXT NOT NULL
);
INSERT INTO "verdicts" VALUES(1,'0506949a312f1e45','2026-11-02T03:00:00.351606+00:00','in-use');
CREATE TABLE windows (number INTEGER PRIMARY KEY, cache TEXT NOT NULL, record TEXT NOT NULL);
INSERT INTO "windows" VALUES(1,'killed','{"mode": "dry-run", "started_at": "2026-11-02T03:00:00.299121Z", "finished_at": "2026-11-02T03:00:00.326963Z", "begun_at": "2026-11-02T03:00:00.299121Z", "visits": 200, "rotated": 0, "seconds": 0.027840624999953434, "visited": 200, "rotated_in_all": 0, "names": 200, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 200, "rate": null, "waited": {}}');
CREATE INDEX verdicts_by_key ON verdicts (key_id, number);
CREATE INDEX windows_by_cache ON windows (cache, number);
COMMIT;
PRAGMA application_id=1380930561;
PRAGMA user_version=2;

BEGIN TRANSACTION;
CREATE TABLE encryptions (key_id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "encryptions" VALUES('324a465c54c04e23',10);
INSERT INTO "encryptions" VALUES('59ab96ab85e6c941',45);
INSERT INTO "encryptions" VALUES('999313ede62c3a3f',23);
INSERT INTO "encryptions" VALUES('bfae004f89687276',40);
CREATE TABLE endings (caches TEXT PRIMARY KEY, exit_code INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "endings" VALUES('[["maverics.json"], ["audit"]]',0);
INSERT INTO "endings" VALUES('[[], ["audit", "sessions"]]',0);
INSERT INTO "endings" VALUES('[[], ["audit"]]',3);
INSERT INTO "endings" VALUES('[[], ["sessions"]]',0);
INSERT INTO "endings" VALUES('[[], ["tokens"]]',0);
INSERT INTO "endings" VALUES('[[], []]',3);
CREATE TABLE histories (
    cache TEXT, key_id TEXT, history TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "histories" VALUES('audit','78a0d6a226efe6c9','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-10-05T02:00:00.060380Z", "first_seen_at": "2026-10-05T02:00:00.064663Z", "last_seen_at": "2026-10-08T03:10:00.018050Z", "swept_at": "2026-11-02T03:30:15.047914Z", "clean_since": "2026-10-08T03:10:00.026413Z", "clean_sweeps": 4, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('audit','999313ede62c3a3f','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": null, "first_seen_at": null, "last_seen_at": "2026-11-02T03:30:15.047914Z", "swept_at": null, "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('sessions','4583b6013d836ae4','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-10-05T02:00:00.038417Z", "first_seen_at": "2026-10-05T02:00:00.041466Z", "last_seen_at": "2026-10-07T03:00:00.016236Z", "swept_at": "2026-11-01T03:00:01.530365Z", "clean_since": "2026-10-07T03:00:00.025896Z", "clean_sweeps": 5, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('sessions','59ab96ab85e6c941','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": null, "first_seen_at": null, "last_seen_at": "2026-11-01T03:00:01.530365Z", "swept_at": null, "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('sessions','bfae004f89687276','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-11-01T03:00:01.515957Z", "first_seen_at": "2026-11-01T03:00:01.518697Z", "last_seen_at": "2026-11-01T03:00:01.521478Z", "swept_at": "2026-11-01T03:00:01.530365Z", "clean_since": "2026-11-01T03:00:01.530365Z", "clean_sweeps": 1, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('tokens','147fed43b9a99b12','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-10-05T02:00:00.050106Z", "first_seen_at": "2026-10-05T02:00:00.052544Z", "last_seen_at": "2026-11-01T03:30:00.013833Z", "swept_at": "2026-11-01T03:30:00.017455Z", "clean_since": null, "clean_sweeps": 0, "clean_before": "2026-10-08T03:00:00.027021Z", "returned_at": "2026-11-01T03:30:00.013833Z", "returned": 3, "prefixes": ["/app/again"]}');
INSERT INTO "histories" VALUES('tokens','324a465c54c04e23','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": null, "first_seen_at": null, "last_seen_at": "2026-11-01T03:30:00.017455Z", "swept_at": null, "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('tokens','4583b6013d836ae4','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-10-05T02:00:00.050106Z", "first_seen_at": null, "last_seen_at": null, "swept_at": "2026-11-01T03:30:00.017455Z", "clean_since": "2026-10-08T03:00:00.020155Z", "clean_sweeps": 4, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
INSERT INTO "histories" VALUES('tokens','78f6a2e325495ee6','{"scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "first_looked_at": "2026-10-05T02:00:00.050106Z", "first_seen_at": "2026-10-05T02:00:00.052544Z", "last_seen_at": "2026-11-01T03:30:00.015636Z", "swept_at": "2026-11-01T03:30:00.017455Z", "clean_since": null, "clean_sweeps": 0, "clean_before": null, "returned_at": null, "returned": 0, "prefixes": []}');
CREATE TABLE holds (
    cache TEXT, key_id TEXT, holds TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "holds" VALUES('audit','78a0d6a226efe6c9','[{"reason": "replica 127.0.0.1:17013 is 126 bytes behind", "until": null, "ends_by": "run again when replica 127.0.0.1:17013 has caught up"}]');
INSERT INTO "holds" VALUES('sessions','4583b6013d836ae4','[{"reason": "backups are kept for 7d and may hold it until 2026-10-14 03:00 UTC", "until": "2026-10-14T03:00:00.025896Z", "ends_by": "wait until 2026-10-14 03:00 UTC, then run again"}]');
INSERT INTO "holds" VALUES('sessions','bfae004f89687276','[{"reason": "the RDB file of 127.0.0.1:17001 is from 2026-11-01 02:59 UTC, when the key was not yet known to be gone", "until": null, "ends_by": "BGSAVE on 127.0.0.1:17001, then run again"}, {"reason": "the append-only file of 127.0.0.1:17001 was not rewritten since the key is gone", "until": null, "ends_by": "BGREWRITEAOF on 127.0.0.1:17001, then run again"}, {"reason": "backups are kept for 7d and may hold it until 2026-11-08 03:00 UTC", "until": "2026-11-08T03:00:01.530365Z", "ends_by": "wait until 2026-11-08 03:00 UTC, then run again"}]');
INSERT INTO "holds" VALUES('tokens','147fed43b9a99b12','[]');
INSERT INTO "holds" VALUES('tokens','4583b6013d836ae4','[]');
INSERT INTO "holds" VALUES('tokens','78f6a2e325495ee6','[]');
CREATE TABLE marks (
    cache TEXT, key_id TEXT, clean_since TEXT NOT NULL, marks TEXT NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "marks" VALUES('audit','78a0d6a226efe6c9','2026-10-08T03:10:00.026413+00:00','{"127.0.0.1:17003": {"run_id": "b1d77975fb50d70aadb8370675838a43cb7f9806", "rewrites": 0}}');
INSERT INTO "marks" VALUES('sessions','4583b6013d836ae4','2026-10-07T03:00:00.025896+00:00','{"127.0.0.1:17001": {"run_id": "2409f4311c4f74573ff8ba16bce077361040e398", "rewrites": 0}}');
INSERT INTO "marks" VALUES('sessions','bfae004f89687276','2026-11-01T03:00:01.530365+00:00','{"127.0.0.1:17001": {"run_id": "2409f4311c4f74573ff8ba16bce077361040e398", "rewrites": 1}}');
INSERT INTO "marks" VALUES('tokens','147fed43b9a99b12','2026-10-08T03:00:00.027021+00:00','{"127.0.0.1:17002": {"run_id": "f23d548011447fe22aaf4a77959191f8ebb46296", "rewrites": 0}}');
INSERT INTO "marks" VALUES('tokens','4583b6013d836ae4','2026-10-08T03:00:00.020155+00:00','{"127.0.0.1:17002": {"run_id": "f23d548011447fe22aaf4a77959191f8ebb46296", "rewrites": 0}}');
CREATE TABLE positions (
    cache TEXT, phase TEXT, node TEXT, position TEXT NOT NULL,
    PRIMARY KEY (cache, phase, node)
) WITHOUT ROWID;
CREATE TABLE reports (cache TEXT PRIMARY KEY, report TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "reports" VALUES('audit','{
  "schema": 1,
  "rotator": "1.0.0",
  "mode": "run",
  "started_at": "2026-11-02T03:30:00Z",
  "finished_at": "2026-11-02T03:30:18Z",
  "exit_code": 0,
  "caches": [
    {
      "name": "audit",
      "complete": true,
      "stopped": null,
      "visits": 25,
      "outcomes": {
        "current": 23,
        "rotated": 0,
        "would_rotate": 0,
        "gone": 0,
        "contended": 0,
        "undecryptable": 2,
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
            "node": "127.0.0.1:17003",
            "run_id": "b1d77975fb50d70aadb8370675838a43cb7f9806",
            "version": "valkey 9.1.2",
            "visits": 25,
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
          "id": "999313ede62c3a3f",
          "role": "current",
          "field": "caches[2].encryption.keys.current",
          "found": 23,
          "rotated": 0,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 1036,
          "drains_at": null,
          "drain": [],
          "last_seen_at": "2026-11-02T03:30:15Z",
          "verdict": null,
          "ready_at": null,
          "held_until": null,
          "reasons": [],
          "next_step": null,
          "first_seen_at": "2026-11-02T03:30:15Z",
          "prefixes": {},
          "samples": [],
          "encryptions": 23,
          "nonce_budget_used": 1.0710209608078003e-8,
          "past": null
        },
        {
          "id": "78a0d6a226efe6c9",
          "role": "old",
          "field": "caches[2].encryption.keys.old[0]",
          "found": 0,
          "rotated": 0,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 0,
          "drains_at": null,
          "drain": [
            [
              "2026-11-02T04:00:00Z",
              0
            ]
          ],
          "last_seen_at": "2026-10-08T03:10:00Z",
          "verdict": "held",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "replica 127.0.0.1:17013 is 126 bytes behind",
            "2 undecryptable were accepted"
          ],
          "next_step": "run again when replica 127.0.0.1:17013 has caught up",
          "first_seen_at": "2026-10-05T02:00:00Z",
          "prefixes": {},
          "samples": [],
          "encryptions": 0,
          "nonce_budget_used": 4.6566128730773926e-9,
          "past": {
            "first_seen_at": "2026-10-05T02:00:00Z",
            "last_seen_at": "2026-10-08T03:10:00Z",
            "swept_at": "2026-11-02T03:30:15Z",
            "clean_since": "2026-10-08T03:10:00Z",
            "clean_sweeps": 4,
            "returned_at": null,
            "verdicts": [
              [
                "2026-10-05T02:00:01Z",
                "in-use"
              ],
              [
                "2026-10-08T03:10:00Z",
                "verifying"
              ],
              [
                "2026-10-09T03:00:00Z",
                "retirable"
              ],
              [
                "2026-11-02T03:00:00Z",
                "unknown"
              ],
              [
                "2026-11-02T03:30:18Z",
                "held"
              ]
            ]
          }
        }
      ],
      "problems": [
        {
          "name": "/app/strange:1",
          "node": "127.0.0.1:17003",
          "outcome": "undecryptable",
          "reason": "bad_tag",
          "detail": "60 bytes"
        },
        {
          "name": "/app/unseen",
          "node": "127.0.0.1:17003",
          "outcome": "undecryptable",
          "reason": "bad_tag",
          "detail": "60 bytes"
        }
      ],
      "problems_total": 2,
      "accepted": {
        "undecryptable": 2
      },
      "waited_seconds": {},
      "sweep_seconds": 15.03455460999976,
      "warnings": [],
      "error": null,
      "judged_at": "2026-11-02T03:30:18Z",
      "swept_at": "2026-11-02T03:30:15Z",
      "visits_now": 25,
      "progress": null,
      "attempt": null,
      "outlook": null
    }
  ],
  "error": null
}
','2026-11-02T03:30:18.096988+00:00');
INSERT INTO "reports" VALUES('sessions','{
  "schema": 1,
  "rotator": "1.0.0",
  "mode": "run",
  "started_at": "2026-11-01T03:00:01Z",
  "finished_at": "2026-11-01T03:00:01Z",
  "exit_code": 0,
  "caches": [
    {
      "name": "sessions",
      "complete": true,
      "stopped": null,
      "visits": 45,
      "outcomes": {
        "current": 0,
        "rotated": 45,
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
      "verification": {
        "visits": 45,
        "found_under_old_keys": 0,
        "complete": true,
        "method": "tracking"
      },
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
            "node": "127.0.0.1:17001",
            "run_id": "2409f4311c4f74573ff8ba16bce077361040e398",
            "version": "valkey 9.1.2",
            "visits": 45,
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
          "id": "59ab96ab85e6c941",
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
          "encryptions": 45,
          "nonce_budget_used": 2.0954757928848267e-8,
          "past": null
        },
        {
          "id": "bfae004f89687276",
          "role": "old",
          "field": "caches[0].encryption.keys.old[0]",
          "found": 45,
          "rotated": 45,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 1784,
          "drains_at": null,
          "drain": [
            [
              "2026-11-01T04:00:00Z",
              0
            ]
          ],
          "last_seen_at": "2026-11-01T03:00:01Z",
          "verdict": "held",
          "ready_at": null,
          "held_until": "2026-11-08T03:00:02Z",
          "reasons": [
            "the RDB file of 127.0.0.1:17001 is from 2026-11-01 02:59 UTC, when the key was not yet known to be gone",
            "the append-only file of 127.0.0.1:17001 was not rewritten since the key is gone",
            "backups are kept for 7d and may hold it until 2026-11-08 03:00 UTC"
          ],
          "next_step": "BGSAVE on 127.0.0.1:17001, then run again; BGREWRITEAOF on 127.0.0.1:17001, then run again; wait until 2026-11-08 03:00 UTC, then run again",
          "first_seen_at": "2026-11-01T03:00:01Z",
          "prefixes": {
            "/app/saml": 5,
            "/app/oidc": 40
          },
          "samples": [],
          "encryptions": 40,
          "nonce_budget_used": 1.979060471057892e-8,
          "past": {
            "first_seen_at": "2026-11-01T03:00:01Z",
            "last_seen_at": "2026-11-01T03:00:01Z",
            "swept_at": "2026-11-01T03:00:01Z",
            "clean_since": "2026-11-01T03:00:01Z",
            "clean_sweeps": 1,
            "returned_at": null,
            "verdicts": [
              [
                "2026-11-01T03:00:01Z",
                "held"
              ]
            ]
          }
        },
        {
          "id": "4583b6013d836ae4",
          "role": "old",
          "field": "caches[0].encryption.keys.old[1]",
          "found": 0,
          "rotated": 0,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 0,
          "drains_at": null,
          "drain": [
            [
              "2026-11-01T04:00:00Z",
              0
            ]
          ],
          "last_seen_at": "2026-10-07T03:00:00Z",
          "verdict": "retirable",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "sessions: last met 2026-10-07 03:00 UTC; 5 complete sweeps since then did not meet it",
            "tokens: 3 complete sweeps did not meet it, and none ever did",
            "2 undecryptable were accepted",
            "1 not_string was accepted"
          ],
          "next_step": "remove caches[0].encryption.keys.old[1] and caches[1].encryption.keys.old[2]",
          "first_seen_at": "2026-10-05T02:00:00Z",
          "prefixes": {},
          "samples": [],
          "encryptions": 0,
          "nonce_budget_used": 9.313225746154785e-9,
          "past": {
            "first_seen_at": "2026-10-05T02:00:00Z",
            "last_seen_at": "2026-10-07T03:00:00Z",
            "swept_at": "2026-11-01T03:00:01Z",
            "clean_since": "2026-10-07T03:00:00Z",
            "clean_sweeps": 5,
            "returned_at": null,
            "verdicts": [
              [
                "2026-10-05T02:00:01Z",
                "unknown"
              ],
              [
                "2026-10-08T03:00:00Z",
                "verifying"
              ],
              [
                "2026-10-09T03:00:00Z",
                "held"
              ],
              [
                "2026-10-20T03:00:00Z",
                "retirable"
              ]
            ]
          }
        }
      ],
      "problems": [],
      "problems_total": 0,
      "accepted": {},
      "waited_seconds": {},
      "sweep_seconds": 0.007407273998978781,
      "warnings": [],
      "error": null,
      "judged_at": "2026-11-01T03:00:01Z",
      "swept_at": "2026-11-01T03:00:01Z",
      "visits_now": 45,
      "progress": null,
      "attempt": null,
      "outlook": null
    }
  ],
  "error": null
}
','2026-11-01T03:00:01.533173+00:00');
INSERT INTO "reports" VALUES('tokens','{
  "schema": 1,
  "rotator": "1.0.0",
  "mode": "dry-run",
  "started_at": "2026-11-01T03:30:00Z",
  "finished_at": "2026-11-01T03:30:00Z",
  "exit_code": 0,
  "caches": [
    {
      "name": "tokens",
      "complete": true,
      "stopped": null,
      "visits": 24,
      "outcomes": {
        "current": 10,
        "rotated": 0,
        "would_rotate": 11,
        "gone": 0,
        "contended": 0,
        "undecryptable": 2,
        "nested": 0,
        "not_string": 1,
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
            "node": "127.0.0.1:17002",
            "run_id": "f23d548011447fe22aaf4a77959191f8ebb46296",
            "version": "valkey 9.1.2",
            "visits": 24,
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
          "id": "324a465c54c04e23",
          "role": "current",
          "field": "caches[1].encryption.keys.current",
          "found": 10,
          "rotated": 0,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 330,
          "drains_at": null,
          "drain": [],
          "last_seen_at": "2026-11-01T03:30:00Z",
          "verdict": null,
          "ready_at": null,
          "held_until": null,
          "reasons": [],
          "next_step": null,
          "first_seen_at": "2026-11-01T03:30:00Z",
          "prefixes": {},
          "samples": [],
          "encryptions": 10,
          "nonce_budget_used": 4.6566128730773926e-9,
          "past": null
        },
        {
          "id": "78f6a2e325495ee6",
          "role": "old",
          "field": "caches[1].encryption.keys.old[0]",
          "found": 8,
          "rotated": 0,
          "remaining": 8,
          "remaining_without_ttl": 0,
          "bytes": 264,
          "drains_at": "2027-01-26T07:07:09Z",
          "drain": [
            [
              "2026-11-01T04:00:00Z",
              8
            ],
            [
              "2026-11-01T05:00:00Z",
              8
            ],
            [
              "2026-11-01T06:00:00Z",
              8
            ],
            [
              "2026-11-01T07:00:00Z",
              8
            ],
            [
              "2026-11-01T08:00:00Z",
              8
            ],
            [
              "2026-11-01T09:00:00Z",
              8
            ],
            [
              "2026-11-01T10:00:00Z",
              8
            ],
            [
              "2026-11-01T11:00:00Z",
              8
            ],
            [
              "2026-11-01T12:00:00Z",
              8
            ],
            [
              "2026-11-01T13:00:00Z",
              8
            ],
            [
              "2026-11-01T14:00:00Z",
              8
            ],
            [
              "2026-11-01T15:00:00Z",
              8
            ],
            [
              "2026-11-01T16:00:00Z",
              8
            ],
            [
              "2026-11-01T17:00:00Z",
              8
            ],
            [
              "2026-11-01T18:00:00Z",
              8
            ],
            [
              "2026-11-01T19:00:00Z",
              8
            ],
            [
              "2026-11-01T20:00:00Z",
              8
            ],
            [
              "2026-11-01T21:00:00Z",
              8
            ],
            [
              "2026-11-01T22:00:00Z",
              8
            ],
            [
              "2026-11-01T23:00:00Z",
              8
            ],
            [
              "2026-11-02T00:00:00Z",
              8
            ],
            [
              "2026-11-02T01:00:00Z",
              8
            ],
            [
              "2026-11-02T02:00:00Z",
              8
            ],
            [
              "2026-11-02T03:00:00Z",
              8
            ],
            [
              "2026-11-02T04:00:00Z",
              8
            ],
            [
              "2026-11-02T05:00:00Z",
              8
            ],
            [
              "2026-11-02T06:00:00Z",
              8
            ],
            [
              "2026-11-02T07:00:00Z",
              8
            ],
            [
              "2026-11-02T08:00:00Z",
              8
            ],
            [
              "2026-11-02T09:00:00Z",
              8
            ],
            [
              "2026-11-02T10:00:00Z",
              8
            ],
            [
              "2026-11-02T11:00:00Z",
              8
            ],
            [
              "2026-11-02T12:00:00Z",
              8
            ],
            [
              "2026-11-02T13:00:00Z",
              8
            ],
            [
              "2026-11-02T14:00:00Z",
              8
            ],
            [
              "2026-11-02T15:00:00Z",
              8
            ],
            [
              "2026-11-02T16:00:00Z",
              8
            ],
            [
              "2026-11-02T17:00:00Z",
              8
            ],
            [
              "2026-11-02T18:00:00Z",
              8
            ],
            [
              "2026-11-02T19:00:00Z",
              8
            ],
            [
              "2026-11-02T20:00:00Z",
              8
            ],
            [
              "2026-11-02T21:00:00Z",
              8
            ],
            [
              "2026-11-02T22:00:00Z",
              8
            ],
            [
              "2026-11-02T23:00:00Z",
              8
            ],
            [
              "2026-11-03T00:00:00Z",
              8
            ],
            [
              "2026-11-03T01:00:00Z",
              8
            ],
            [
              "2026-11-03T02:00:00Z",
              8
            ],
            [
              "2026-11-03T03:00:00Z",
              8
            ],
            [
              "2026-11-04T03:00:00Z",
              8
            ],
            [
              "2026-11-05T03:00:00Z",
              8
            ],
            [
              "2026-11-06T03:00:00Z",
              8
            ],
            [
              "2026-11-07T03:00:00Z",
              8
            ],
            [
              "2026-11-08T03:00:00Z",
              8
            ],
            [
              "2026-11-09T03:00:00Z",
              8
            ],
            [
              "2026-11-10T03:00:00Z",
              8
            ],
            [
              "2026-11-11T03:00:00Z",
              8
            ],
            [
              "2026-11-12T03:00:00Z",
              8
            ],
            [
              "2026-11-13T03:00:00Z",
              8
            ],
            [
              "2026-11-14T03:00:00Z",
              8
            ],
            [
              "2026-11-15T03:00:00Z",
              8
            ],
            [
              "2026-11-16T03:00:00Z",
              8
            ],
            [
              "2026-11-17T03:00:00Z",
              8
            ],
            [
              "2026-11-18T03:00:00Z",
              8
            ],
            [
              "2026-11-19T03:00:00Z",
              8
            ],
            [
              "2026-11-20T03:00:00Z",
              8
            ],
            [
              "2026-11-21T03:00:00Z",
              8
            ],
            [
              "2026-11-22T03:00:00Z",
              8
            ],
            [
              "2026-11-23T03:00:00Z",
              8
            ],
            [
              "2026-11-24T03:00:00Z",
              8
            ],
            [
              "2026-11-25T03:00:00Z",
              8
            ],
            [
              "2026-11-26T03:00:00Z",
              8
            ],
            [
              "2026-11-27T03:00:00Z",
              8
            ],
            [
              "2026-11-28T03:00:00Z",
              8
            ],
            [
              "2026-11-29T03:00:00Z",
              8
            ],
            [
              "2026-11-30T03:00:00Z",
              8
            ],
            [
              "2026-12-01T03:00:00Z",
              8
            ],
            [
              "2026-12-02T03:00:00Z",
              8
            ],
            [
              "2026-12-03T03:00:00Z",
              8
            ],
            [
              "2026-12-04T03:00:00Z",
              8
            ],
            [
              "2026-12-05T03:00:00Z",
              8
            ],
            [
              "2026-12-06T03:00:00Z",
              8
            ],
            [
              "2026-12-07T03:00:00Z",
              8
            ],
            [
              "2026-12-08T03:00:00Z",
              8
            ],
            [
              "2026-12-09T03:00:00Z",
              8
            ],
            [
              "2026-12-10T03:00:00Z",
              8
            ],
            [
              "2026-12-11T03:00:00Z",
              8
            ],
            [
              "2026-12-12T03:00:00Z",
              8
            ],
            [
              "2026-12-13T03:00:00Z",
              8
            ],
            [
              "2026-12-14T03:00:00Z",
              8
            ],
            [
              "2026-12-15T03:00:00Z",
              8
            ],
            [
              "2026-12-16T03:00:00Z",
              8
            ],
            [
              "2026-12-17T03:00:00Z",
              8
            ],
            [
              "2026-12-18T03:00:00Z",
              8
            ],
            [
              "2026-12-19T03:00:00Z",
              8
            ],
            [
              "2026-12-20T03:00:00Z",
              8
            ],
            [
              "2026-12-21T03:00:00Z",
              8
            ],
            [
              "2026-12-22T03:00:00Z",
              8
            ],
            [
              "2026-12-23T03:00:00Z",
              8
            ],
            [
              "2026-12-24T03:00:00Z",
              8
            ],
            [
              "2026-12-25T03:00:00Z",
              8
            ],
            [
              "2026-12-26T03:00:00Z",
              8
            ],
            [
              "2026-12-27T03:00:00Z",
              8
            ],
            [
              "2026-12-28T03:00:00Z",
              8
            ],
            [
              "2026-12-29T03:00:00Z",
              8
            ],
            [
              "2026-12-30T03:00:00Z",
              8
            ],
            [
              "2026-12-31T03:00:00Z",
              8
            ],
            [
              "2027-01-01T03:00:00Z",
              8
            ],
            [
              "2027-01-02T03:00:00Z",
              8
            ],
            [
              "2027-01-03T03:00:00Z",
              8
            ],
            [
              "2027-01-04T03:00:00Z",
              8
            ],
            [
              "2027-01-05T03:00:00Z",
              8
            ],
            [
              "2027-01-06T03:00:00Z",
              7
            ],
            [
              "2027-01-07T03:00:00Z",
              7
            ],
            [
              "2027-01-08T03:00:00Z",
              7
            ],
            [
              "2027-01-09T03:00:00Z",
              6
            ],
            [
              "2027-01-10T03:00:00Z",
              6
            ],
            [
              "2027-01-11T03:00:00Z",
              6
            ],
            [
              "2027-01-12T03:00:00Z",
              5
            ],
            [
              "2027-01-13T03:00:00Z",
              5
            ],
            [
              "2027-01-14T03:00:00Z",
              5
            ],
            [
              "2027-01-15T03:00:00Z",
              4
            ],
            [
              "2027-01-16T03:00:00Z",
              4
            ],
            [
              "2027-01-17T03:00:00Z",
              4
            ],
            [
              "2027-01-18T03:00:00Z",
              3
            ],
            [
              "2027-01-19T03:00:00Z",
              3
            ],
            [
              "2027-01-20T03:00:00Z",
              3
            ],
            [
              "2027-01-21T03:00:00Z",
              2
            ],
            [
              "2027-01-22T03:00:00Z",
              2
            ],
            [
              "2027-01-23T03:00:00Z",
              2
            ],
            [
              "2027-01-24T03:00:00Z",
              1
            ],
            [
              "2027-01-25T03:00:00Z",
              1
            ],
            [
              "2027-01-26T03:00:00Z",
              1
            ],
            [
              "2027-01-27T03:00:00Z",
              0
            ]
          ],
          "last_seen_at": "2026-11-01T03:30:00Z",
          "verdict": "draining",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "8 values with a TTL remain under it; the last expires at 2027-01-26 07:07 UTC",
            "2 undecryptable were accepted",
            "1 not_string was accepted"
          ],
          "next_step": "run without --dry-run to move what remains, or wait until 2027-01-26 07:07 UTC and run again",
          "first_seen_at": "2026-10-05T02:00:00Z",
          "prefixes": {
            "/app/token": 8
          },
          "samples": [
            "/app/token:001",
            "/app/token:003",
            "/app/token:005",
            "/app/token:007",
            "/app/token:002",
            "/app/token:004",
            "/app/token:000",
            "/app/token:006"
          ],
          "encryptions": 0,
          "nonce_budget_used": 1.862645149230957e-9,
          "past": {
            "first_seen_at": "2026-10-05T02:00:00Z",
            "last_seen_at": "2026-11-01T03:30:00Z",
            "swept_at": "2026-11-01T03:30:00Z",
            "clean_since": null,
            "clean_sweeps": 0,
            "returned_at": null,
            "verdicts": [
              [
                "2026-10-05T02:00:01Z",
                "unknown"
              ],
              [
                "2026-10-08T03:00:00Z",
                "draining"
              ],
              [
                "2026-10-08T03:10:00Z",
                "in-use"
              ],
              [
                "2026-10-20T03:10:00Z",
                "draining"
              ]
            ]
          }
        },
        {
          "id": "147fed43b9a99b12",
          "role": "old",
          "field": "caches[1].encryption.keys.old[1]",
          "found": 3,
          "rotated": 0,
          "remaining": 3,
          "remaining_without_ttl": 3,
          "bytes": 99,
          "drains_at": null,
          "drain": [
            [
              "2026-11-01T04:00:00Z",
              3
            ]
          ],
          "last_seen_at": "2026-11-01T03:30:00Z",
          "verdict": "in-use",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "3 values without a TTL remain under it, first seen 2026-10-05 02:00 UTC (names begin with /app/again)",
            "3 values were encrypted with it after it had been clean since 2026-10-08 03:00 UTC: something still writes with it (names begin with /app/again)",
            "2 undecryptable were accepted",
            "1 not_string was accepted"
          ],
          "next_step": "run without --dry-run to move what remains; find what still encrypts with it, give that the current key, then run again",
          "first_seen_at": "2026-10-05T02:00:00Z",
          "prefixes": {
            "/app/again": 3
          },
          "samples": [
            "/app/again:0",
            "/app/again:1",
            "/app/again:2"
          ],
          "encryptions": 0,
          "nonce_budget_used": 2.3283064365386963e-9,
          "past": {
            "first_seen_at": "2026-10-05T02:00:00Z",
            "last_seen_at": "2026-11-01T03:30:00Z",
            "swept_at": "2026-11-01T03:30:00Z",
            "clean_since": null,
            "clean_sweeps": 0,
            "returned_at": "2026-11-01T03:30:00Z",
            "verdicts": [
              [
                "2026-10-05T02:00:01Z",
                "unknown"
              ],
              [
                "2026-10-08T03:00:00Z",
                "verifying"
              ],
              [
                "2026-10-20T03:10:00Z",
                "retirable"
              ],
              [
                "2026-11-01T03:30:00Z",
                "in-use"
              ]
            ]
          }
        },
        {
          "id": "4583b6013d836ae4",
          "role": "old",
          "field": "caches[1].encryption.keys.old[2]",
          "found": 0,
          "rotated": 0,
          "remaining": 0,
          "remaining_without_ttl": 0,
          "bytes": 0,
          "drains_at": null,
          "drain": [
            [
              "2026-11-01T04:00:00Z",
              0
            ]
          ],
          "last_seen_at": "2026-10-07T03:00:00Z",
          "verdict": "retirable",
          "ready_at": null,
          "held_until": null,
          "reasons": [
            "tokens: 4 complete sweeps did not meet it, and none ever did",
            "sessions: last met 2026-10-07 03:00 UTC; 5 complete sweeps since then did not meet it",
            "2 undecryptable were accepted",
            "1 not_string was accepted"
          ],
          "next_step": "remove caches[1].encryption.keys.old[2] and caches[0].encryption.keys.old[1]",
          "first_seen_at": "2026-10-05T02:00:00Z",
          "prefixes": {},
          "samples": [],
          "encryptions": 0,
          "nonce_budget_used": 9.313225746154785e-9,
          "past": {
            "first_seen_at": null,
            "last_seen_at": null,
            "swept_at": "2026-11-01T03:30:00Z",
            "clean_since": "2026-10-08T03:00:00Z",
            "clean_sweeps": 4,
            "returned_at": null,
            "verdicts": [
              [
                "2026-10-05T02:00:01Z",
                "unknown"
              ],
              [
                "2026-10-08T03:00:00Z",
                "verifying"
              ],
              [
                "2026-10-09T03:00:00Z",
                "held"
              ],
              [
                "2026-10-20T03:00:00Z",
                "retirable"
              ]
            ]
          }
        }
      ],
      "problems": [
        {
          "name": "/app/strange:0",
          "node": "127.0.0.1:17002",
          "outcome": "undecryptable",
          "reason": "bad_tag",
          "detail": "60 bytes"
        },
        {
          "name": "/app/strange:1",
          "node": "127.0.0.1:17002",
          "outcome": "undecryptable",
          "reason": "bad_tag",
          "detail": "60 bytes"
        },
        {
          "name": "/app/list:1",
          "node": "127.0.0.1:17002",
          "outcome": "not_string",
          "reason": "",
          "detail": ""
        }
      ],
      "problems_total": 3,
      "accepted": {
        "undecryptable": 2,
        "not_string": 1
      },
      "waited_seconds": {},
      "sweep_seconds": 0.006108665998908691,
      "warnings": [],
      "error": null,
      "judged_at": "2026-11-01T03:30:00Z",
      "swept_at": "2026-11-01T03:30:00Z",
      "visits_now": 24,
      "progress": null,
      "attempt": null,
      "outlook": null
    }
  ],
  "error": null
}
','2026-11-01T03:30:00.021183+00:00');
CREATE TABLE seen (
    cache TEXT, key_id TEXT, number INTEGER NOT NULL,
    PRIMARY KEY (cache, key_id)
) WITHOUT ROWID;
INSERT INTO "seen" VALUES('audit','78a0d6a226efe6c9',20);
INSERT INTO "seen" VALUES('audit','999313ede62c3a3f',23);
INSERT INTO "seen" VALUES('sessions','4583b6013d836ae4',40);
INSERT INTO "seen" VALUES('sessions','59ab96ab85e6c941',45);
INSERT INTO "seen" VALUES('sessions','bfae004f89687276',45);
INSERT INTO "seen" VALUES('tokens','147fed43b9a99b12',10);
INSERT INTO "seen" VALUES('tokens','324a465c54c04e23',10);
INSERT INTO "seen" VALUES('tokens','78f6a2e325495ee6',8);
CREATE TABLE sweeps (cache TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "sweeps" VALUES('audit','{"cache": "audit", "mode": "run", "started_at": "2026-11-02T03:30:00.013360Z", "finished_at": "2026-11-02T03:30:15.047914Z", "complete": true, "current": "999313ede62c3a3f", "keys": {"78a0d6a226efe6c9": {"found": 0, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "drains_at": null, "first_seen_at": null, "last_seen_at": null, "prefixes": []}}, "scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "visits": 25, "verified": true, "not_looked_at": [], "open_items": {"undecryptable": 2, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "accepted": {"undecryptable": 2}, "doubt": null}');
INSERT INTO "sweeps" VALUES('sessions','{"cache": "sessions", "mode": "verify", "started_at": "2026-11-01T03:00:01.525572Z", "finished_at": "2026-11-01T03:00:01.530365Z", "complete": true, "current": "59ab96ab85e6c941", "keys": {"bfae004f89687276": {"found": 0, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "drains_at": null, "first_seen_at": null, "last_seen_at": null, "prefixes": []}, "4583b6013d836ae4": {"found": 0, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "drains_at": null, "first_seen_at": null, "last_seen_at": null, "prefixes": []}}, "scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "visits": 45, "verified": true, "not_looked_at": [], "open_items": {"undecryptable": 0, "not_string": 0, "too_large": 0, "denied": 0, "failed": 0}, "accepted": {}, "doubt": null}');
INSERT INTO "sweeps" VALUES('tokens','{"cache": "tokens", "mode": "dry-run", "started_at": "2026-11-01T03:30:00.011346Z", "finished_at": "2026-11-01T03:30:00.017455Z", "complete": true, "current": "324a465c54c04e23", "keys": {"78f6a2e325495ee6": {"found": 8, "remaining": 8, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "drains_at": "2027-01-26T07:07:08.778000Z", "first_seen_at": "2026-11-01T03:30:00.013833Z", "last_seen_at": "2026-11-01T03:30:00.015636Z", "prefixes": ["/app/token"]}, "147fed43b9a99b12": {"found": 3, "remaining": 3, "remaining_without_ttl": 3, "too_large": 0, "too_large_without_ttl": 0, "drains_at": null, "first_seen_at": "2026-11-01T03:30:00.013833Z", "last_seen_at": "2026-11-01T03:30:00.013833Z", "prefixes": ["/app/again"]}, "4583b6013d836ae4": {"found": 0, "remaining": 0, "remaining_without_ttl": 0, "too_large": 0, "too_large_without_ttl": 0, "drains_at": null, "first_seen_at": null, "last_seen_at": null, "prefixes": []}}, "scope": "82ef2980e6488935ab0d3ea3c3c610d97a69e5a8d35d20fa4f8aae3d42e6d340", "visits": 24, "verified": true, "not_looked_at": [], "open_items": {"undecryptable": 2, "not_string": 1, "too_large": 0, "denied": 0, "failed": 0}, "accepted": {"undecryptable": 2, "not_string": 1}, "doubt": null}');
CREATE TABLE verdicts (
    number INTEGER PRIMARY KEY, key_id TEXT NOT NULL, at TEXT NOT NULL, verdict TEXT NOT NULL
);
INSERT INTO "verdicts" VALUES(1,'78f6a2e325495ee6','2026-10-05T02:00:01.076997+00:00','unknown');
INSERT INTO "verdicts" VALUES(2,'78a0d6a226efe6c9','2026-10-05T02:00:01.076997+00:00','in-use');
INSERT INTO "verdicts" VALUES(3,'147fed43b9a99b12','2026-10-05T02:00:01.076997+00:00','unknown');
INSERT INTO "verdicts" VALUES(4,'4583b6013d836ae4','2026-10-05T02:00:01.076997+00:00','unknown');
INSERT INTO "verdicts" VALUES(5,'78f6a2e325495ee6','2026-10-08T03:00:00.029957+00:00','draining');
INSERT INTO "verdicts" VALUES(6,'147fed43b9a99b12','2026-10-08T03:00:00.029957+00:00','verifying');
INSERT INTO "verdicts" VALUES(7,'4583b6013d836ae4','2026-10-08T03:00:00.029957+00:00','verifying');
INSERT INTO "verdicts" VALUES(8,'78a0d6a226efe6c9','2026-10-08T03:10:00.733148+00:00','verifying');
INSERT INTO "verdicts" VALUES(9,'78f6a2e325495ee6','2026-10-08T03:10:00.733148+00:00','in-use');
INSERT INTO "verdicts" VALUES(10,'78a0d6a226efe6c9','2026-10-09T03:00:00.063209+00:00','retirable');
INSERT INTO "verdicts" VALUES(11,'4583b6013d836ae4','2026-10-09T03:00:00.063209+00:00','held');
INSERT INTO "verdicts" VALUES(12,'4583b6013d836ae4','2026-10-20T03:00:00.040587+00:00','retirable');
INSERT INTO "verdicts" VALUES(13,'78f6a2e325495ee6','2026-10-20T03:10:00.027042+00:00','draining');
INSERT INTO "verdicts" VALUES(14,'147fed43b9a99b12','2026-10-20T03:10:00.027042+00:00','retirable');
INSERT INTO "verdicts" VALUES(15,'bfae004f89687276','2026-11-01T03:00:01.533173+00:00','held');
INSERT INTO "verdicts" VALUES(16,'147fed43b9a99b12','2026-11-01T03:30:00.021183+00:00','in-use');
INSERT INTO "verdicts" VALUES(17,'78a0d6a226efe6c9','2026-11-02T03:00:00.626611+00:00','unknown');
INSERT INTO "verdicts" VALUES(18,'78a0d6a226efe6c9','2026-11-02T03:30:18.096988+00:00','held');
CREATE TABLE windows (number INTEGER PRIMARY KEY, cache TEXT NOT NULL, record TEXT NOT NULL);
INSERT INTO "windows" VALUES(1,'sessions','{"mode": "dry-run", "started_at": "2026-10-05T02:00:00.038417Z", "finished_at": "2026-10-05T02:00:00.045774Z", "begun_at": "2026-10-05T02:00:00.038417Z", "visits": 45, "rotated": 0, "seconds": 0.007355597001151182, "visited": 45, "rotated_in_all": 0, "names": 45, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 40, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(2,'tokens','{"mode": "dry-run", "started_at": "2026-10-05T02:00:00.050106Z", "finished_at": "2026-10-05T02:00:00.055661Z", "begun_at": "2026-10-05T02:00:00.050106Z", "visits": 21, "rotated": 0, "seconds": 0.005555551000725245, "visited": 21, "rotated_in_all": 0, "names": 21, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 18, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(3,'audit','{"mode": "dry-run", "started_at": "2026-10-05T02:00:00.060380Z", "finished_at": "2026-10-05T02:00:00.067860Z", "begun_at": "2026-10-05T02:00:00.060380Z", "visits": 20, "rotated": 0, "seconds": 0.007480432999727782, "visited": 20, "rotated_in_all": 0, "names": 20, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 20, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(4,'sessions','{"mode": "run", "started_at": "2026-10-05T03:00:00.017147Z", "finished_at": "2026-10-05T03:00:01.031784Z", "begun_at": "2026-10-05T03:00:00.017147Z", "visits": 18, "rotated": 17, "seconds": 1.0146393860013632, "visited": 18, "rotated_in_all": 17, "names": 45, "complete": false, "stopped": "max-duration", "timed": true, "ends_at": "2026-11-26T07:07:10.902478Z", "verifying": false, "left": 23, "rate": 15.0, "waited": {"rate": 1.0048840208613745}}');
INSERT INTO "windows" VALUES(5,'sessions','{"mode": "run", "started_at": "2026-10-06T03:00:00.019526Z", "finished_at": "2026-10-06T03:00:01.030911Z", "begun_at": "2026-10-05T03:00:00.019678Z", "visits": 18, "rotated": 15, "seconds": 1.0113826669985428, "visited": 36, "rotated_in_all": 32, "names": 45, "complete": false, "stopped": "max-duration", "timed": true, "ends_at": "2026-11-26T07:07:11.955404Z", "verifying": false, "left": 8, "rate": 15.0, "waited": {"rate": 1.0044827365267253}}');
INSERT INTO "windows" VALUES(6,'sessions','{"mode": "run", "started_at": "2026-10-07T03:00:00.013603Z", "finished_at": "2026-10-07T03:00:00.025896Z", "begun_at": "2026-10-05T03:00:00.019678Z", "visits": 9, "rotated": 8, "seconds": 0.005609079998976085, "visited": 45, "rotated_in_all": 40, "names": 45, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(7,'tokens','{"mode": "run", "started_at": "2026-10-08T03:00:00.013208Z", "finished_at": "2026-10-08T03:00:00.027021Z", "begun_at": "2026-10-08T03:00:00.013208Z", "visits": 21, "rotated": 10, "seconds": 0.006946587000129512, "visited": 21, "rotated_in_all": 10, "names": 21, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 8, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(8,'audit','{"mode": "run", "started_at": "2026-10-08T03:10:00.012869Z", "finished_at": "2026-10-08T03:10:00.026413Z", "begun_at": "2026-10-08T03:10:00.012869Z", "visits": 20, "rotated": 20, "seconds": 0.007159403998230118, "visited": 20, "rotated_in_all": 20, "names": 20, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(9,'sessions','{"mode": "run", "started_at": "2026-10-09T03:00:00.032533Z", "finished_at": "2026-10-09T03:00:00.042314Z", "begun_at": "2026-10-09T03:00:00.032533Z", "visits": 45, "rotated": 0, "seconds": 0.009779662999790162, "visited": 45, "rotated_in_all": 0, "names": 45, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(10,'audit','{"mode": "run", "started_at": "2026-10-09T03:00:00.048501Z", "finished_at": "2026-10-09T03:00:00.058147Z", "begun_at": "2026-10-09T03:00:00.048501Z", "visits": 20, "rotated": 0, "seconds": 0.00964507299795514, "visited": 20, "rotated_in_all": 0, "names": 20, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(11,'sessions','{"mode": "run", "started_at": "2026-10-20T03:00:00.017907Z", "finished_at": "2026-10-20T03:00:00.024959Z", "begun_at": "2026-10-20T03:00:00.017907Z", "visits": 45, "rotated": 0, "seconds": 0.007049940999422688, "visited": 45, "rotated_in_all": 0, "names": 45, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(12,'audit','{"mode": "run", "started_at": "2026-10-20T03:00:00.029523Z", "finished_at": "2026-10-20T03:00:00.036357Z", "begun_at": "2026-10-20T03:00:00.029523Z", "visits": 20, "rotated": 0, "seconds": 0.006834739000623813, "visited": 20, "rotated_in_all": 0, "names": 20, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(13,'tokens','{"mode": "run", "started_at": "2026-10-20T03:10:00.014285Z", "finished_at": "2026-10-20T03:10:00.021175Z", "begun_at": "2026-10-20T03:10:00.014285Z", "visits": 21, "rotated": 0, "seconds": 0.006888921001518611, "visited": 21, "rotated_in_all": 0, "names": 21, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 8, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(14,'sessions','{"mode": "run", "started_at": "2026-11-01T03:00:01.515957Z", "finished_at": "2026-11-01T03:00:01.530365Z", "begun_at": "2026-11-01T03:00:01.515957Z", "visits": 45, "rotated": 45, "seconds": 0.007407273998978781, "visited": 45, "rotated_in_all": 45, "names": 45, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(15,'tokens','{"mode": "dry-run", "started_at": "2026-11-01T03:30:00.011346Z", "finished_at": "2026-11-01T03:30:00.017455Z", "begun_at": "2026-11-01T03:30:00.011346Z", "visits": 24, "rotated": 0, "seconds": 0.006108665998908691, "visited": 24, "rotated_in_all": 0, "names": 24, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 11, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(16,'audit','{"mode": "run", "started_at": "2026-11-02T03:00:00.012517Z", "finished_at": "2026-11-02T03:00:00.019036Z", "begun_at": "2026-11-02T03:00:00.012517Z", "visits": 24, "rotated": 0, "seconds": 0.0065181570025742985, "visited": 24, "rotated_in_all": 0, "names": 24, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
INSERT INTO "windows" VALUES(17,'audit','{"mode": "run", "started_at": "2026-11-02T03:30:00.013360Z", "finished_at": "2026-11-02T03:30:15.047914Z", "begun_at": "2026-11-02T03:30:00.013360Z", "visits": 25, "rotated": 0, "seconds": 15.03455460999976, "visited": 25, "rotated_in_all": 0, "names": 25, "complete": true, "stopped": null, "timed": false, "ends_at": null, "verifying": false, "left": 0, "rate": null, "waited": {}}');
CREATE INDEX verdicts_by_key ON verdicts (key_id, number);
CREATE INDEX windows_by_cache ON windows (cache, number);
COMMIT;
PRAGMA application_id=1380930561;
PRAGMA user_version=2;

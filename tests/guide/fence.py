"""Runs the guide's fence.sql on SQLite for each line of its input, and prints 1 if it wrote and 0 if it refused; at the end the status."""
import json, sqlite3, sys

db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE orders (id text PRIMARY KEY, status text, token bigint, at bigint, attempt bigint)")
statement = open(sys.argv[1]).read()
for line in sys.stdin:
    print(db.execute(statement, json.loads(line)).rowcount)
print(*db.execute("SELECT status FROM orders").fetchone())

-- name: restrict -- for this transaction; the role where there is one that the login may take on
SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %(timeout)s, true),
       (SELECT set_config('role', rolname, true) FROM pg_roles WHERE rolname = %(role)s AND pg_has_role(oid, 'SET'));

-- name: begin_attempt
SAVEPOINT attempt;

-- name: end_attempt -- and with it what it set, and the error that it may have ended in
ROLLBACK TO SAVEPOINT attempt;
RELEASE SAVEPOINT attempt;

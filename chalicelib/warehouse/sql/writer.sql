-- name: bound -- for this transaction: each statement, and all of them together
SELECT set_config('statement_timeout', %(statement)s, true), set_config('transaction_timeout', %(transaction)s, true);

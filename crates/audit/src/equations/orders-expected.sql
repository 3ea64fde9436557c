-- orders-expected: at rest
-- There are as many orders as were said to have been accepted: sagas, and orders of those that are forgotten.
-- checked
SELECT count(*) FROM sagas WHERE definition = 'place-order';
-- offenders
SELECT format('%d orders instead of %d', found, orders)
FROM expected, (
    SELECT count(*) AS found FROM (
        SELECT id FROM sagas WHERE definition = 'place-order'
        UNION
        SELECT id FROM orders WHERE id < (SELECT below FROM forgotten WHERE service = 'orchestrator')
    )
)
WHERE found <> orders;

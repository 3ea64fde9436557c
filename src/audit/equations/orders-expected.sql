-- orders-expected: at rest
-- There are as many orders as were said to have been accepted.
-- checked
SELECT count(*) FROM sagas WHERE definition = 'place-order';
-- offenders
SELECT format('%d orders instead of %d', found, orders)
FROM expected, (SELECT count(*) AS found FROM sagas WHERE definition = 'place-order')
WHERE found <> orders;

-- # stock: what came in is available, reserved or sold
-- Products, their reservations and movements.

-- ## stock-conserved: always
-- Of each product, received = available + reserved + sold, and none of them is negative.
SELECT count(*) FROM products;
SELECT format('%s: received %d, available %d, reserved %d, sold %d', sku, received, available, reserved, sold)
FROM products
-- Subtracted, so that no sum leaves the 64 bits of an integer.
WHERE received - available - reserved - sold <> 0
   OR min(received, available, reserved, sold) < 0
ORDER BY sku;

-- ## stock-reserved: always
-- Of each product, as much is reserved as the open reservations hold.
SELECT (SELECT count(*) FROM products) + (SELECT count(*) FROM reservations WHERE state = 'open');
WITH held AS (
    SELECT sku, sum(quantity) AS quantity FROM reservations WHERE state = 'open' GROUP BY sku
)
SELECT format('%s: reserved %d, held by open reservations %d',
              coalesce(p.sku, h.sku), coalesce(p.reserved, 0), coalesce(h.quantity, 0))
FROM products p FULL JOIN held h ON h.sku = p.sku
WHERE coalesce(p.reserved, 0) <> coalesce(h.quantity, 0)
ORDER BY 1;

-- ## stock-ledger: always
-- Of each product, what was received, is reserved and was sold are the sums of its movements.
-- What is available follows from that and from stock-conserved.
SELECT count(*) FROM movements;
WITH moved AS (
    SELECT sku,
           coalesce(sum(quantity) FILTER (WHERE kind = 'received'), 0) AS received,
           coalesce(sum(quantity) FILTER (WHERE kind = 'reserved'), 0)
               - coalesce(sum(quantity) FILTER (WHERE kind IN ('released', 'committed')), 0) AS reserved,
           coalesce(sum(quantity) FILTER (WHERE kind = 'committed'), 0)
               - coalesce(sum(quantity) FILTER (WHERE kind = 'returned'), 0) AS sold
    FROM movements GROUP BY sku
)
SELECT format('%s: received %d, reserved %d, sold %d; by its movements %d, %d, %d', coalesce(p.sku, m.sku),
              p.received, p.reserved, p.sold, m.received, m.reserved, m.sold)
FROM products p FULL JOIN moved m ON m.sku = p.sku
WHERE (p.received, p.reserved, p.sold) IS NOT (m.received, m.reserved, m.sold)
ORDER BY 1;

-- ## movements-once: always
-- No saga moves a product twice in the same way, and no receipt is booked twice.
SELECT count(*) FROM movements;
SELECT format('%s: %s %d times for %s', sku, kind, count(*), coalesce(saga_id, receipt_key))
FROM movements
GROUP BY saga_id, receipt_key, CASE WHEN receipt_key IS NULL THEN sku END, kind
HAVING count(*) > 1
ORDER BY 1;

-- ## reservations-moved: always
-- Each reservation has its movements: it was reserved, and released or committed if that is its state, in its quantity.
-- And each movement of a saga has its reservation, but for what comes back: see returns-moved.
SELECT (SELECT count(*) FROM reservations)
     + (SELECT count(*) FROM movements WHERE saga_id IS NOT NULL AND kind <> 'returned');
WITH due AS (
    SELECT saga_id, sku, 'reserved' AS kind, quantity FROM reservations
    UNION ALL
    SELECT saga_id, sku, state, quantity FROM reservations WHERE state <> 'open'
),
moved AS (
    SELECT saga_id, sku, kind, quantity FROM movements WHERE saga_id IS NOT NULL AND kind <> 'returned'
)
SELECT format('%s: %d of %s should be %s and never were', saga_id, quantity, sku, kind)
FROM (SELECT * FROM due EXCEPT SELECT * FROM moved)
UNION ALL
SELECT format('%s: %d of %s were %s, which no reservation says', saga_id, quantity, sku, kind)
FROM (SELECT * FROM moved EXCEPT SELECT * FROM due)
ORDER BY 1;

-- ## returns-moved: always, may be empty
-- What has come back of each sale is the sum of its movements, and no more than was sold.
SELECT count(*) FROM movements WHERE kind = 'returned';
WITH moved AS (
    SELECT order_id, sku, sum(quantity) AS quantity FROM movements WHERE kind = 'returned' GROUP BY order_id, sku
)
SELECT format('order %s: %d of %d %s came back, by the movements %d', coalesce(r.saga_id, m.order_id), r.returned,
              r.quantity, coalesce(r.sku, m.sku), coalesce(m.quantity, 0))
FROM reservations r FULL JOIN moved m ON m.order_id = r.saga_id AND m.sku = r.sku
WHERE r.returned IS NOT coalesce(m.quantity, 0) OR r.returned > CASE r.state WHEN 'committed' THEN r.quantity ELSE 0 END
ORDER BY 1;

-- ## goods-received: always
-- Each receipt of goods is in the ledger of movements, and what is there as received has its receipt.
SELECT (SELECT count(*) FROM receipts) + (SELECT count(*) FROM movements WHERE kind = 'received');
WITH booked AS (SELECT receipt_key, sku, quantity FROM movements WHERE kind = 'received')
SELECT format('receipt %s of %d %s is in no movement', key, quantity, sku)
FROM (SELECT key, sku, quantity FROM receipts EXCEPT SELECT * FROM booked)
UNION ALL
SELECT format('%d of %s were received under %s, which no receipt says', quantity, sku, receipt_key)
FROM (SELECT * FROM booked EXCEPT SELECT key, sku, quantity FROM receipts)
ORDER BY 1;

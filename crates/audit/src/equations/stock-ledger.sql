-- stock-ledger: always
-- Of each product, what was received, is reserved and was sold are the sums of its movements.
-- What is available follows from that and from stock-conserved.
-- checked
SELECT count(*) FROM movements;
-- offenders
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

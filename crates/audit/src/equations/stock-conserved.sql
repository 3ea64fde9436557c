-- stock-conserved: always
-- Of each product, received = available + reserved + sold, and none of them is negative.
-- checked
SELECT count(*) FROM products;
-- offenders
SELECT format('%s: received %d, available %d, reserved %d, sold %d', sku, received, available, reserved, sold)
FROM products
-- Subtracted, so that no sum leaves the 64 bits of an integer.
WHERE received - available - reserved - sold <> 0
   OR min(received, available, reserved, sold) < 0
ORDER BY sku;

-- goods-received: always
-- Each receipt of goods is in the ledger of movements, and what is there as received has its receipt.
-- checked
SELECT (SELECT count(*) FROM receipts) + (SELECT count(*) FROM movements WHERE kind = 'received');
-- offenders
WITH booked AS (SELECT receipt_key, sku, quantity FROM movements WHERE kind = 'received')
SELECT format('receipt %s of %d %s is in no movement', key, quantity, sku)
FROM (SELECT key, sku, quantity FROM receipts EXCEPT SELECT * FROM booked)
UNION ALL
SELECT format('%d of %s were received under %s, which no receipt says', quantity, sku, receipt_key)
FROM (SELECT * FROM booked EXCEPT SELECT key, sku, quantity FROM receipts)
ORDER BY 1;

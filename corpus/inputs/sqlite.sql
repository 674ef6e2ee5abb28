-- Work for an in-memory database: inserts, indexes, joins, windows, recursion, triggers, updates and text functions.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, town TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer, product TEXT, cents INTEGER, day INTEGER);
CREATE TABLE log(event TEXT, amount INTEGER);
CREATE TRIGGER refund AFTER DELETE ON sale BEGIN INSERT INTO log VALUES('refund', old.cents); END;

BEGIN;
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO customer SELECT i, printf('customer %05d', i * 7919 % 10007), 'town ' || (i * 31 % 97) FROM n;
WITH RECURSIVE n(i, r) AS (VALUES(1, 12345) UNION ALL SELECT i + 1, (r * 1103515245 + 12345) % 2147483648 FROM n WHERE i < 60000)
INSERT INTO sale SELECT i, 1 + r % 2000, char(65 + r / 7 % 26, 65 + r / 191 % 26), r / 13 % 100000, r / 97 % 365 FROM n;
COMMIT;
SELECT 'inserted', count(*), sum(cents), max(product) FROM sale;

CREATE INDEX by_customer ON sale(customer, day);
CREATE INDEX by_product ON sale(product);
SELECT 'best towns', town, count(*) AS sales, sum(cents) AS total FROM sale JOIN customer ON customer.id = sale.customer GROUP BY town ORDER BY total DESC LIMIT 5;
SELECT 'longest gap', customer, gap FROM (SELECT customer, day - lag(day) OVER (PARTITION BY customer ORDER BY day, id) AS gap FROM sale) WHERE gap IS NOT NULL ORDER BY gap DESC, customer LIMIT 5;
SELECT 'running', day, total FROM (SELECT day, sum(sum(cents)) OVER (ORDER BY day) AS total FROM sale GROUP BY day) WHERE day % 60 = 0;
SELECT 'pairs', a.product, count(*) FROM sale a JOIN sale b ON a.customer = b.customer AND a.day = b.day AND a.id < b.id WHERE a.product = b.product GROUP BY a.product ORDER BY 3 DESC, 2 LIMIT 5;

UPDATE sale SET cents = cents * 9 / 10 WHERE product LIKE 'Q%' OR product GLOB '*[X-Z]';
DELETE FROM sale WHERE day IN (13, 26, 39) AND cents % 3 = 0;
SELECT 'refunds', count(*), sum(amount) FROM log;
SELECT 'letters', group_concat(letter || times, ' ') FROM (SELECT substr(upper(name), -1) AS letter, count(*) AS times FROM customer GROUP BY 1 ORDER BY 1);
WITH RECURSIVE
  axis(v) AS (VALUES(0) UNION ALL SELECT v + 1 FROM axis WHERE v < 47),
  step(x, y, cr, ci, zr, zi, n) AS (
    SELECT x.v, y.v, x.v / 16.0 - 2.2, y.v / 20.0 - 1.2, 0.0, 0.0, 0 FROM axis x, axis y
    UNION ALL
    SELECT x, y, cr, ci, zr * zr - zi * zi + cr, 2 * zr * zi + ci, n + 1 FROM step WHERE zr * zr + zi * zi < 4 AND n < 40)
SELECT 'mandelbrot', count(*), sum(n) FROM (SELECT max(n) AS n FROM step GROUP BY x, y);
VACUUM;
PRAGMA integrity_check;
SELECT 'left', count(*), sum(cents), printf('%.6f', avg(cents)) FROM sale;

-- Distances and quantiles between any two time ranges, from stored panes alone. Parametrised views, called like functions:
--
--   SELECT psi FROM psi_between(model='churn', version='7', segment='', feature='age',
--       a_from='2024-11-01', a_to='2024-11-08', b_from='2024-11-08', b_to='2024-11-15')
--
-- A range holds the panes that start in [from, to), UTC. Panes can be added up only over the same bins, so there is one row for each
-- grid (edges, or list of categories) that occurs; almost always that is one row. A side without rows gives null.

CREATE OR REPLACE VIEW histograms_between AS
WITH
    grids AS
    (
        SELECT
            reference,
            any(JSONExtractRaw(content, 'features', {feature:String}, 'edges')
                || JSONExtractRaw(content, 'features', {feature:String}, 'categories')) AS grid
        FROM `references`
        WHERE model = {model:String}
        GROUP BY reference
    ),
    panes AS
    (
        SELECT
            *,
            version = {a_version:String} AND segment = {a_segment:String}
                AND pane_start >= {a_from:DateTime64(3, 'UTC')} AND pane_start < {a_to:DateTime64(3, 'UTC')} AS in_a,
            version = {b_version:String} AND segment = {b_segment:String}
                AND pane_start >= {b_from:DateTime64(3, 'UTC')} AND pane_start < {b_to:DateTime64(3, 'UTC')} AS in_b
        FROM feature_panes FINAL
        WHERE model = {model:String}
            AND version IN ({a_version:String}, {b_version:String})
            AND segment IN ({a_segment:String}, {b_segment:String})
            AND feature = {feature:String}
            AND (in_a OR in_b)
    ),
    sums AS
    (
        SELECT
            kind,
            multiIf(empty(bins), '', grids.grid = '', reference, grids.grid) AS grid,
            sumForEachIf(bins, in_a) AS a_bins,
            sumForEachIf(bins, in_b) AS b_bins,
            sumMapIf(categories, in_a) AS a_categories,
            sumMapIf(categories, in_b) AS b_categories,
            sumIf(n, in_a) AS a_rows,
            sumIf(n, in_b) AS b_rows,
            sumIf(missing, in_a) AS a_missing,
            sumIf(missing, in_b) AS b_missing,
            minIf(minimum, in_a) AS a_minimum,
            minIf(minimum, in_b) AS b_minimum,
            maxIf(maximum, in_a) AS a_maximum,
            maxIf(maximum, in_b) AS b_maximum
        FROM panes
        LEFT JOIN grids ON grids.reference = panes.reference
        GROUP BY kind, grid
    ),
    -- While a reference is still being learned, there are categories and no bins.
    if(grid = '', arrayDistinct(arrayConcat(mapKeys(a_categories), mapKeys(b_categories))), []) AS loose,
    greatest(length(a_bins), length(b_bins)) AS width
SELECT
    kind,
    grid,
    if(grid = '', arrayMap(category -> a_categories[category], loose), arrayResize(a_bins, width)) AS a,
    if(grid = '', arrayMap(category -> b_categories[category], loose), arrayResize(b_bins, width)) AS b,
    a_rows, b_rows, a_missing, b_missing, a_minimum, b_minimum, a_maximum, b_maximum
FROM sums
COMMENT 'Two histograms over the same bins (rows each), of two ranges, segments or versions of one feature';

CREATE OR REPLACE VIEW distances_between AS
WITH
    arraySum(a) AS a_n,
    arraySum(b) AS b_n,
    arrayMap(count -> count / a_n, a) AS p,
    arrayMap(count -> count / b_n, b) AS q,
    arrayMap((x, y) -> (x + y) / 2, p, q) AS mean,
    -- The population stability index is smoothed as in the results: half a row for every bin in use, in the mean shape of both sides.
    arrayCount((x, y) -> x + y > 0, a, b) / 2 AS lent,
    arrayMap((x, m) -> m + (x - m) * a_n / (a_n + lent), p, mean) AS p_smooth,
    arrayMap((y, m) -> m + (y - m) * b_n / (b_n + lent), q, mean) AS q_smooth,
    arrayMap((x, y) -> if(x > 0 AND y > 0, (x - y) * log(x / y), 0), p_smooth, q_smooth) AS psi_parts,
    arrayMap((x, m) -> if(x > 0, x * log2(x / m), 0), p, mean) AS p_parts,
    arrayMap((y, m) -> if(y > 0, y * log2(y / m), 0), q, mean) AS q_parts,
    a_n > 0 AND b_n > 0 AS defined
SELECT
    {model:String} AS model,
    {feature:String} AS feature,
    kind,
    grid,
    a_n,
    b_n,
    if(defined, arraySum(psi_parts), NULL) AS psi,
    if(defined, sqrt(greatest(0, (arraySum(p_parts) + arraySum(q_parts)) / 2)), NULL) AS js,
    if(defined AND kind = 'numeric', arrayMax(arrayMap(gap -> abs(gap), arrayCumSum(arrayMap((x, y) -> x - y, p, q)))), NULL) AS ks
FROM histograms_between(
    model = {model:String}, feature = {feature:String},
    a_version = {a_version:String}, a_segment = {a_segment:String},
    a_from = {a_from:DateTime64(3, 'UTC')}, a_to = {a_to:DateTime64(3, 'UTC')},
    b_version = {b_version:String}, b_segment = {b_segment:String},
    b_from = {b_from:DateTime64(3, 'UTC')}, b_to = {b_to:DateTime64(3, 'UTC')})
COMMENT 'PSI, Jensen-Shannon distance (base 2, in [0, 1]) and Kolmogorov-Smirnov distance of two ranges, segments or versions';

CREATE OR REPLACE VIEW psi_between AS
SELECT model, {version:String} AS version, {segment:String} AS segment, feature, grid, a_n, b_n, psi
FROM distances_between(
    model = {model:String}, feature = {feature:String},
    a_version = {version:String}, a_segment = {segment:String},
    a_from = {a_from:DateTime64(3, 'UTC')}, a_to = {a_to:DateTime64(3, 'UTC')},
    b_version = {version:String}, b_segment = {segment:String},
    b_from = {b_from:DateTime64(3, 'UTC')}, b_to = {b_to:DateTime64(3, 'UTC')})
COMMENT 'Population stability index of one feature between two time ranges, from 0 up';

CREATE OR REPLACE VIEW js_between AS
SELECT model, {version:String} AS version, {segment:String} AS segment, feature, grid, a_n, b_n, js
FROM distances_between(
    model = {model:String}, feature = {feature:String},
    a_version = {version:String}, a_segment = {segment:String},
    a_from = {a_from:DateTime64(3, 'UTC')}, a_to = {a_to:DateTime64(3, 'UTC')},
    b_version = {version:String}, b_segment = {segment:String},
    b_from = {b_from:DateTime64(3, 'UTC')}, b_to = {b_to:DateTime64(3, 'UTC')})
COMMENT 'Jensen-Shannon distance of one feature between two time ranges, base 2, in [0, 1]';

CREATE OR REPLACE VIEW ks_between AS
SELECT model, {version:String} AS version, {segment:String} AS segment, feature, grid, a_n, b_n, ks
FROM distances_between(
    model = {model:String}, feature = {feature:String},
    a_version = {version:String}, a_segment = {segment:String},
    a_from = {a_from:DateTime64(3, 'UTC')}, a_to = {a_to:DateTime64(3, 'UTC')},
    b_version = {version:String}, b_segment = {segment:String},
    b_from = {b_from:DateTime64(3, 'UTC')}, b_to = {b_to:DateTime64(3, 'UTC')})
COMMENT 'Kolmogorov-Smirnov distance of one numeric feature between two time ranges, in [0, 1]';

CREATE OR REPLACE VIEW quantiles_between AS
WITH
    JSONExtract(grid, 'Array(Float64)') AS edges,
    -- Inside a bin the rows are taken as spread evenly; the outer bins end at the smallest and the largest value.
    (counts, low, high, level) -> if(arraySum(counts) = 0 OR length(counts) != length(edges) + 1, NULL, arrayElement(
        arrayMap(
            (count, reached, lower, upper) -> lower + (upper - lower) * (level * arraySum(counts) - (reached - count)) / count,
            arrayFilter((c, x) -> x > 0, counts, counts),
            arrayFilter((c, x) -> x > 0, arrayCumSum(counts), counts),
            arrayFilter((c, x) -> x > 0, arrayMap(e -> greatest(e, low), arrayPushFront(edges, low)), counts),
            arrayFilter((c, x) -> x > 0, arrayMap(e -> least(e, high), arrayPushBack(edges, high)), counts)),
        arrayFirstIndex(reached -> reached >= level * arraySum(counts), arrayCumSum(arrayFilter(x -> x > 0, counts))))) AS quantile_of
SELECT
    {model:String} AS model,
    {version:String} AS version,
    {segment:String} AS segment,
    {feature:String} AS feature,
    grid,
    level,
    quantile_of(a, assumeNotNull(a_minimum), assumeNotNull(a_maximum), level) AS a_quantile,
    quantile_of(b, assumeNotNull(b_minimum), assumeNotNull(b_maximum), level) AS b_quantile
FROM histograms_between(
    model = {model:String}, feature = {feature:String},
    a_version = {version:String}, a_segment = {segment:String},
    a_from = {a_from:DateTime64(3, 'UTC')}, a_to = {a_to:DateTime64(3, 'UTC')},
    b_version = {version:String}, b_segment = {segment:String},
    b_from = {b_from:DateTime64(3, 'UTC')}, b_to = {b_to:DateTime64(3, 'UTC')})
ARRAY JOIN [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99] AS level
WHERE kind = 'numeric'
COMMENT 'Quantiles of one numeric feature in two time ranges, in the unit of the feature';

"""What a query may be made of. Whatever is not named here is refused: also what a later version of a library adds.

Functions were read through one by one. Missing on purpose: whatever reads files, settings, the environment or the catalogue;
whatever makes long texts or lists out of short ones (repeat, lpad, range); whatever is not the same twice (random, uuid).
"""

from __future__ import annotations

_AGGREGATES = """
    any_value approx_count_distinct approx_quantile arg_max arg_min array_agg avg bool_and bool_or corr count
    count_if count_star
    covar_pop covar_samp entropy first histogram kurtosis last list listagg max max_by median min min_by mode
    product quantile
    quantile_cont quantile_disc regr_intercept regr_slope skewness stddev stddev_pop stddev_samp string_agg sum
    var_pop var_samp
    variance grouping grouping_id
"""
_WINDOW = """
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
"""
_NUMBERS = """
    abs cbrt ceil ceiling even exp floor gcd greatest isfinite isinf isnan least ln log log10 log2 mod pow power
    round sign sqrt trunc
"""
_TEXTS = """
    ascii chr concat concat_ws contains ends_with format_bytes hash instr jaccard left len length levenshtein
    lower ltrim md5
    position prefix regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace replace
    reverse right rtrim
    sha256 split_part starts_with string_split str_split strlen strpos substr substring suffix translate trim upper
"""
_TIMES = """
    current_date date_add date_bin date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc
    day dayname dayofweek
    dayofyear epoch epoch_ms epoch_us extract hour isodow last_day make_date make_timestamp minute month
    monthname now quarter second
    strftime strptime time_bucket to_days to_hours to_milliseconds to_minutes to_months to_seconds to_weeks today
    try_strptime week year current_timestamp get_current_timestamp
"""
_JSON = """
    json_array json_array_length json_extract json_extract_string json_keys json_object json_structure json_type
    json_valid
"""
_NESTED = """
    array_concat array_contains array_distinct array_has array_length array_sort element_at list_aggregate
    list_avg list_cat
    list_concat list_contains list_count list_distinct list_extract list_has list_max list_min list_pack
    list_position list_slice
    list_sort list_sum list_unique list_value map_extract map_keys map_values row struct_extract struct_pack unnest
"""
_ANY = "coalesce columns exists if ifnull nullif typeof"

FUNCTIONS = frozenset(" ".join((_AGGREGATES, _WINDOW, _NUMBERS, _TEXTS, _TIMES, _JSON, _NESTED, _ANY)).split())
"""By the database's names, in lower case."""

OPERATORS = frozenset(
    {
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "^",
        "**",
        "||",
        "~~",
        "!~~",
        "~~*",
        "!~~*",
        "~~~",
        "->",
        "->>",
        "&",
        "|",
        "<<",
        ">>",
        "~",
    }
    | {"array_extract", "array_slice", "like_escape", "ilike_escape", "not_like_escape", "not_ilike_escape"}
    | {"!", "!~", "^@", "<@", "@>", "&&", "regexp_full_match", "is_distinct_from", "is_not_distinct_from"}
)
"""What the database's own parser makes of operators: functions, too."""

_TYPED = """
    Abs AnyValue ApproxDistinct ApproxQuantile ArgMax ArgMin Array ArrayAgg ArrayConcat ArrayContains
    ArrayDistinct ArrayMax ArrayMin ArraySize ArraySort Ascii Avg Case Cast Cbrt Ceil Chr Coalesce Columns
    Concat ConcatWs Contains Corr Count CountIf CovarPop CovarSamp CumeDist CurrentDate CurrentTimestamp DateAdd
    DateBin DateDiff DateFromParts DateTrunc Day DayOfMonth DayOfWeek DayOfWeekIso DayOfYear Dayname DenseRank
    EndsWith Exists Exp Explode Extract First FirstValue Floor Greatest GroupConcat Grouping GroupingId Hour If
    IsInf IsNan JSONArray JSONExtract JSONExtractScalar JSONKeys JSONObject JSONType Kurtosis Lag Last LastDay
    LastValue Lead Least Left Length Levenshtein Ln Log LogicalAnd LogicalOr Lower MD5 MapKeys Max Median Min
    Minute Mod Mode Month Monthname NthValue Ntile Nullif PercentRank PercentileCont PercentileDisc Pow Quantile
    Quarter Rank RegexpExtract RegexpExtractAll RegexpFullMatch RegexpLike RegexpReplace RegrIntercept RegrSlope
    Replace Reverse Right Round RowNumber SHA2 Second Sign Skewness Split SplitPart Sqrt StartsWith Stddev
    StddevPop StddevSamp StrPosition StrToTime Struct StructExtract Substring Sum TimeToStr TimeToUnix
    TimestampFromParts TimestampTrunc ToDays Translate Trim Trunc TryCast Typeof UnixToTime Unnest Upper
    Variance VariancePop Week Year
"""
TYPED = frozenset(_TYPED.split())
"""Functions that sqlglot has a class of its own for, by the name of the class."""

_NODES = """
    Alias Aliases All Any And Between Boolean Bracket CTE Column ColumnDef DataType DataTypeParam Distinct Dot
    Except Filter From Group Having Identifier IgnoreNulls In Intersect Interval JSONKeyValue JSONPath
    JSONPathKey JSONPathRoot JSONPathSubscript JSONPathWildcard Join Limit Literal Null Offset Or Order Ordered
    Paren PropertyEQ Qualify RespectNulls Rollup Cube GroupingSets Select Slice Star Subquery Table TableAlias
    Tuple Union Values Var Where Window WindowSpec With WithinGroup Not Neg BitwiseNot Add Sub Mul Div IntDiv
    DPipe EQ NEQ GT GTE LT LTE Is Like ILike Glob SimilarTo Escape NullSafeEQ NullSafeNEQ BitwiseAnd BitwiseOr
    BitwiseXor BitwiseLeftShift BitwiseRightShift RawString TableSample Lateral Xor HavingMax Kwarg
"""
NODES = frozenset(_NODES.split())
"""Everything else that sqlglot's trees are made of."""

_TYPES = """
    BIGINT BOOLEAN CHAR DATE DECIMAL DOUBLE FLOAT INT INT128 INTERVAL JSON NVARCHAR SMALLINT TEXT TIME TIMESTAMP
    TIMESTAMPNTZ TINYINT UBIGINT UINT USMALLINT UTINYINT VARCHAR HUGEINT LIST ARRAY STRUCT TIMESTAMP_MS
    TIMESTAMP_S UUID
"""
TYPES = frozenset(_TYPES.split())
"""Types that something may be cast to: none that looks a name up in the catalogue (regclass, an enum)."""

SYSTEM = ("duckdb_", "pragma_", "pg_", "sqlite_", "information_schema")
"""Beginnings of the database's own tables. No name in a query may begin so, not even one of a CTE."""

SOURCES = frozenset(
    {"BASE_TABLE", "JOIN", "SUBQUERY", "EMPTY", "EXPRESSION_LIST", "TABLE_FUNCTION", "COLUMN_DATA", "CTE"}
)
"""What the database's own parser may find in a FROM."""
TABLE_FUNCTIONS = frozenset({"unnest"})
BLOCKS = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE"})
"""What it may find as a whole statement or subquery; there is no RECURSIVE_CTE_NODE among them."""

//! A column of a Parquet file as values, whatever its type.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use sensor_model::{Kind, Timestamp, Value};

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The kind its values have; `None` where they are of a type that no reading has.
    pub kind: Option<Kind>,
    /// Whether its values are instants by their type.
    pub is_time: bool,
    /// The type, in the words of Arrow.
    pub type_name: String,
}

/// The cells of one column of a block.
#[derive(Debug, Clone)]
pub struct Cells(pub(crate) ArrayRef);

/// The kind of the values of a type.
pub(crate) fn kind_of(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Float64 | DataType::Float32 | DataType::Float16 => Some(Kind::F64),
        DataType::Decimal128(_, 0) => Some(Kind::I64),
        DataType::Decimal128(_, _) => Some(Kind::F64),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => Some(Kind::I64),
        DataType::Boolean => Some(Kind::Bool),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Text),
        DataType::Dictionary(_, values) => kind_of(values),
        _ => None,
    }
}

impl Cells {
    /// The value at `row`: `None` where it is missing, or of a type that no reading has.
    pub fn value(&self, row: usize) -> Option<Value> {
        value_at(self.0.as_ref(), row)
    }

    /// The text at `row`, without a copy.
    pub fn text(&self, row: usize) -> Option<&str> {
        text_at(self.0.as_ref(), row)
    }

    /// The instant at `row`; a time without a zone is taken as UTC, a date as its midnight. `None` where it
    /// is missing, out of range or no time.
    pub fn timestamp(&self, row: usize) -> Option<Timestamp> {
        const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
        let array = self.0.as_ref();
        if array.is_null(row) {
            return None;
        }
        let unit = match array.data_type() {
            DataType::Timestamp(unit, _) => unit,
            DataType::Date32 => {
                let days = array.as_primitive::<Date32Type>().value(row);
                let nanos = i64::from(days).checked_mul(DAY_NS);
                return nanos.map(Timestamp::from_nanos);
            }
            _ => return None,
        };
        let nanos = match unit {
            TimeUnit::Second => {
                let seconds = array.as_primitive::<TimestampSecondType>().value(row);
                seconds.checked_mul(1_000_000_000)
            }
            TimeUnit::Millisecond => {
                let millis = array.as_primitive::<TimestampMillisecondType>().value(row);
                millis.checked_mul(1_000_000)
            }
            TimeUnit::Microsecond => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                micros.checked_mul(1_000)
            }
            TimeUnit::Nanosecond => {
                Some(array.as_primitive::<TimestampNanosecondType>().value(row))
            }
        };
        nanos.map(Timestamp::from_nanos)
    }
}

fn value_at(array: &dyn Array, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    let integer = |integer: i64| Some(Value::I64(integer));
    match array.data_type() {
        DataType::Float64 => Some(Value::F64(array.as_primitive::<Float64Type>().value(row))),
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            Some(Value::F64(f64::from(number)))
        }
        DataType::Float16 => {
            let number = array.as_primitive::<Float16Type>().value(row);
            Some(Value::F64(f64::from(number)))
        }
        DataType::Decimal128(_, scale) => {
            let number = array.as_primitive::<Decimal128Type>().value(row);
            match i64::try_from(number) {
                Ok(number) if *scale == 0 => integer(number),
                _ => float(&format!("{number}e{}", -i32::from(*scale))),
            }
        }
        DataType::Int64 => integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int16 => integer(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int8 => integer(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::UInt8 => integer(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => integer(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => integer(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let number = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(number).map_or_else(|_| float(&number.to_string()), integer)
        }
        DataType::Boolean => Some(Value::Bool(array.as_boolean().value(row))),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let key = value_at(dictionary.keys(), row)?;
            let Value::I64(key) = key else { return None };
            value_at(dictionary.values().as_ref(), usize::try_from(key).ok()?)
        }
        _ => text_at(array, row).map(|text| Value::Text(text.to_owned())),
    }
}

/// The float that is nearest to a number.
fn float(number: &str) -> Option<Value> {
    number.parse().ok().map(Value::F64)
}

fn text_at(array: &dyn Array, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let Some(Value::I64(key)) = value_at(dictionary.keys(), row) else {
                return None;
            };
            text_at(dictionary.values().as_ref(), usize::try_from(key).ok()?)
        }
        _ => None,
    }
}

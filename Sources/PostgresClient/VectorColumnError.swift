/// Why vectors cannot be read from a column.
public enum VectorColumnError: Error, Equatable {
  /// A row's vector cannot be used; `defect` says why and what was expected.
  case badVector(row: String, column: String, defect: String)
  case noSuchColumn(String, table: String, vectorColumns: [String])
  case noSuchTable(String)
  case noVectors(table: String, column: String)
  case notATable(String, kind: String)
  case notAVectorColumn(String, table: String, type: String)
  /// A superuser would have to read it with the owner's rights, and cannot here.
  case ownerCannotRead(table: String, owner: String)
}

extension VectorColumnError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .badVector(let row, let column, let defect):
      "\(row): column \"\(column)\" \(defect)"
    case .noSuchColumn(let column, let table, _):
      "table \(table) has no column \"\(column)\""
    case .noSuchTable(let table):
      "table \"\(table)\" does not exist"
    case .noVectors(let table, let column):
      "table \(table) has no rows with a vector in column \"\(column)\""
    case .notATable(let table, let kind):
      "\"\(table)\" is \(kind), not a table or a view"
    case .notAVectorColumn(let column, let table, let type):
      "column \"\(column)\" of table \(table) is of type \(type); "
        + "expected real[], vector or halfvec"
    case .ownerCannotRead(let table, let owner):
      "table \(table) belongs to role \(owner), with whose rights a superuser cannot read it "
        + "on a read-only server"
    }
  }

  /// Advice, if there is any.
  public var hint: String? {
    switch self {
    case .badVector:
      return "Correct the row, or train on a view that leaves it out."
    case .noSuchColumn(_, _, let vectorColumns):
      return vectorColumns.isEmpty
        ? nil : "Columns that hold vectors: \(vectorColumns.joined(separator: ", "))."
    case .noSuchTable:
      return "Names are read as in SQL: schema-qualify what is not on the search path, "
        + "and put mixed case in double quotes."
    case .ownerCannotRead(_, let owner):
      return "Connect as that role (-U \(owner)), or to the primary server."
    case .noVectors, .notATable, .notAVectorColumn:
      return nil
    }
  }
}
